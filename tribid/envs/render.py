"""A day as text or as a picture: how far each advertiser has spent its budget, against the share of traffic gone by."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tribid.envs.market import Ledger, MarketState
from tribid.envs.scenario import MICROS

_BAR = 24


def spend_curves(state: MarketState, ledgers: Sequence[Ledger]) -> NDArray[np.float64]:
    """Cumulative spend over budget after each tick played, [ticks + 1, A], starting at 0."""
    spends = [np.zeros(len(state.advertisers)), *(ledger.spend_micros for ledger in ledgers)]
    curves: NDArray[np.float64] = np.cumsum(spends, axis=0) / state.advertisers.budget_micros
    return curves


def day_text(state: MarketState, ledgers: Sequence[Ledger]) -> str:
    """One line per advertiser: a bar of the budget spent, clicks, conversions and spend so far."""
    plan = state.day.expected_share[: state.tick].sum()
    lines = [
        f"{state.scenario.name}: tick {state.tick} of {state.world.n_ticks}, {plan:.0%} of the day's traffic expected"
    ]
    width = max(len(name) for name in state.advertisers.names)
    spent = spend_curves(state, ledgers)[-1]
    for i, name in enumerate(state.advertisers.names):
        filled = round(min(1.0, float(spent[i])) * _BAR)
        counts = state.total.counts
        lines.append(
            f"{name:<{width}} [{'#' * filled}{'.' * (_BAR - filled)}] {spent[i]:6.1%} of "
            f"{state.advertisers.budget_micros[i] / MICROS:>9.2f}  clicks {counts.clicks[i]:8.0f}"
            f"  conversions {counts.conversions[i]:6.0f}"
        )
    return "\n".join(lines)


def day_picture(state: MarketState, ledgers: Sequence[Ledger]) -> NDArray[np.uint8]:
    """The pacing picture: budget spent over the day, a line per advertiser, the traffic plan dashed; uint8 [H, W, 3]."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("render_mode 'rgb_array' needs matplotlib: pip install 'tribid[report]'") from error
    figure = Figure(figsize=(7.2, 4.0), dpi=100, layout="constrained")
    axes = figure.add_subplot()
    hours = np.arange(state.world.n_ticks + 1) * 24.0 / state.world.n_ticks
    curves = spend_curves(state, ledgers)
    axes.plot(hours[: len(curves)], 100 * curves, linewidth=1.0)
    axes.plot(
        hours,
        100 * np.concatenate([[0.0], np.cumsum(state.day.expected_share)]),
        "k--",
        linewidth=1.0,
        label="traffic plan",
    )
    axes.set(
        xlim=(0, 24), ylim=(0, 105), xlabel="hour of the day", ylabel="% of budget spent", title=state.scenario.name
    )
    axes.legend(loc="upper left")
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    return np.asarray(canvas.buffer_rgba())[:, :, :3].copy()  # type: ignore[no-untyped-call]
