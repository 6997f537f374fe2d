"""Daily retraining as a run of its own: a model that learns every night, and what came of it, as a table and a picture."""

import io
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import polars as pl

from tribid.envs.scenario import Scenario
from tribid.evaluation.prediction.loop import retrained
from tribid.evaluation.prediction.plan import LoopPart
from tribid.files import write_atomically, write_json

TABLE, PICTURE, RECORD = "days.csv", "days.svg", "retraining.json"
_BIASES = {"bias_all": "all candidates", "bias_shown": "what was shown", "pcoc_shown": "what was shown, by its clicks"}
_AUCS = {"auc_all": "predictions", "truth_auc_all": "the truth itself"}
_COLOURS = ("#0072b2", "#d55e00", "#009e73")


def retrain(
    scenario: Scenario,
    plan: LoopPart,
    explore: float,
    folder: Path,
    seed: int,
    *,
    bidders: tuple[str, ...] = ("truthful",),
    progress: Callable[[int, int], None] | None = None,
) -> pl.DataFrame:
    """Play the loop of ``tribid.evaluation.prediction.loop`` and write its table, its picture and what was asked for.

    Started again in the same folder, with more days for one, it goes on where it was stopped. Gives the table, a row a day.
    """
    days = retrained(scenario, plan, explore, folder, seed, bidders=bidders, progress=progress)
    table = pl.DataFrame([{"day": number, **day} for number, day in enumerate(days)])
    write_atomically(folder / TABLE, table.write_csv())
    write_atomically(folder / PICTURE, days_svg(days))
    asked = plan.model_dump(mode="json", exclude={"explore"}) | {"explore": explore, "bidders": list(bidders)}
    write_json(
        folder / RECORD,
        {"scenario": scenario.name, "hash": scenario.hash, "seed": seed, "asked": asked, "days": days},
    )
    return table


def days_svg(days: Sequence[dict[str, float]]) -> str:
    """The days' biases against the truth (1 is none) above their AUCs, as SVG that is the same in every run.

    Raises ``ImportError`` without matplotlib.
    """
    try:
        import matplotlib
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator, NullFormatter, ScalarFormatter
    except ImportError as error:
        raise ImportError("the picture of the days needs matplotlib: pip install 'tribid[report]'") from error
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # the reader's own settings would change the file
        matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "retraining", "font.size": 9.0})
        figure = Figure(figsize=(5.4, 5.0), layout="constrained")
        above, below = figure.subplots(2, 1, sharex=True)
        for axes, names in ((above, _BIASES), (below, _AUCS)):
            for (name, said), colour in zip(names.items(), _COLOURS, strict=False):
                axes.plot([day[name] for day in days], "o-", label=said, color=colour, markersize=4.0, linewidth=1.4)
            axes.grid(linewidth=0.4)
            axes.spines[["top", "right"]].set_visible(False)
            axes.legend(frameon=False)
        above.axhline(1.0, color="#667182", linewidth=1.0, linestyle=(0, (1.5, 1.8)))
        above.set(yscale="log", ylabel="mean prediction / mean truth")
        above.yaxis.set_major_formatter(ScalarFormatter())
        above.yaxis.set_minor_formatter(NullFormatter() if len(days) > 1 else ScalarFormatter())
        below.set(ylabel="AUC over all candidates", xlabel="day; on day 0 the shop's own noisy truth predicts")
        below.xaxis.set_major_locator(MaxNLocator(integer=True))
        FigureCanvasSVG(figure)
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    return re.sub(r"[ \t]+$", "", text.getvalue(), flags=re.MULTILINE)
