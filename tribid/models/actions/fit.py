"""``fit_actions``: from a log of proposed actions to a folder that can be served, with a report of what was learnt."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from tribid.envs.actions import Action, actions_json, load_actions
from tribid.files import write_atomically, write_json
from tribid.models.actions.examples import KINDS, ActionExamples, examples_of
from tribid.models.actions.fitting import held_out
from tribid.models.actions.log import events_of, read_log
from tribid.models.actions.next_best_action import NextBestAction
from tribid.models.calibration_measures import cal_n, pcoc, reliability_table
from tribid.models.ranking_measures import auc, log_loss

CATALOGUE_FILE: Final = "actions.json"
REPORT_FILE, PLOT_FILE = "report.json", "reliability.svg"
_APART = 7919  # the seed of the users to measure on, apart from those that the model keeps aside


@dataclass(frozen=True, kw_only=True)
class ActionFit:
    """``log`` is a folder of ``actions-*.jsonl``; ``actions`` a file of actions, by default ``actions.json`` in it.

    ``until_ms`` is the present, by default the last event's. ``measured`` is the share of users kept to measure on.
    ``settings`` are ``NextBestAction``'s.
    """

    log: Path
    actions: Path | None = None
    until_ms: int | None = None
    period_days: float = 14.0
    window_days: float = 42.0
    measured: float = 0.2
    skip_unknown: bool = False
    settings: dict[str, Any] = field(default_factory=dict)


class ActionReport(NamedTuple):
    """One action: its events by kind, examples, episodes that are not over, and how good its propensities are.

    ``known`` says whether it has a model; ``auc`` and ``pcoc`` are None where they cannot be told.
    """

    name: str
    taken: int
    not_taken: int
    viewed: int
    examples: int
    young: int
    known: bool
    auc: float | None
    pcoc: float | None


class FitReport(NamedTuple):
    """What a fit found: each action's report, the measures over all of them, and what of the log said nothing.

    ``torn``, ``repeated``, ``unknown`` and ``blind`` are counts of records; see ``tribid.models.actions.log``.
    """

    actions: tuple[ActionReport, ...]
    measures: dict[str, float]
    torn: int
    repeated: int
    unknown: int
    blind: int


def fit_actions(plan: ActionFit, out: Path) -> FitReport:
    """Learn the propensities in a log and write model, catalogue, report and, with matplotlib, the reliability plot.

    ``ValueError`` for a log or file of actions that is not allowed, and for one without examples.
    """
    if not 0.05 <= plan.measured <= 0.5:
        raise ValueError(f"measured is {plan.measured}; allowed is 0.05 to 0.5")
    catalogue = load_actions(plan.log / CATALOGUE_FILE if plan.actions is None else plan.actions)
    names = tuple(action.name for action in catalogue)
    log = read_log(plan.log)
    learnt_from = events_of(log, names, skip_unknown=plan.skip_unknown)
    events = learnt_from.events
    if not len(events.user):
        raise ValueError(f"{plan.log} holds no event with features of these actions; allowed is one at least")
    until_ms = int(events.time_ms.max()) if plan.until_ms is None else plan.until_ms
    examples = examples_of(
        events, len(names), until_ms=until_ms, period_days=plan.period_days, window_days=plan.window_days
    )
    if not len(examples.label):
        raise ValueError(
            f"{plan.log} holds no episode that is over: events of at least {plan.period_days:g} days are needed"
        )
    aside = held_out(examples.user, plan.measured, _APART)
    model = NextBestAction(**plan.settings).fit(_rows(examples, ~aside), names, log.features)
    kept = _rows(examples, aside & model.known_[examples.action])
    rates = model.predict(kept.features)[np.arange(len(kept.label)), kept.action]
    measures = _measures(kept, rates)
    report = FitReport(
        actions=_reports(names, examples, model, kept, rates), measures=measures, torn=log.torn, repeated=log.repeated,
        unknown=learnt_from.unknown, blind=learnt_from.blind,
    )  # fmt: skip
    _write(out, model, catalogue, report, kept, rates)
    return report


def _rows(examples: ActionExamples, kept: Any) -> ActionExamples:
    """Some of the examples; counts stay those of all."""
    return examples._replace(
        **{name: getattr(examples, name)[kept] for name in ("user", "action", "label", "start_ms", "features")}
    )


def _measures(kept: ActionExamples, rates: Any) -> dict[str, float]:
    """Measures over all actions with a model, empty where the kept users' labels are all alike."""
    if not len(kept.label) or kept.label.min() == kept.label.max():
        return {}
    return {
        "examples": float(len(kept.label)), "auc": auc(kept.label, rates), "log_loss": log_loss(kept.label, rates),
        "pcoc": pcoc(rates, kept.label), "cal_10": cal_n(rates, kept.label),
    }  # fmt: skip


def _reports(
    names: tuple[str, ...], examples: ActionExamples, model: NextBestAction, kept: ActionExamples, rates: Any
) -> tuple[ActionReport, ...]:
    total = np.bincount(examples.action, minlength=len(names))
    found = []
    for place, name in enumerate(names):
        rows = kept.action == place
        label = kept.label[rows]
        both = bool(len(label)) and label.min() < label.max()
        viewed, not_taken, taken = (int(count) for count in examples.counts[place])
        assert KINDS == ("viewed", "not_taken", "taken")
        found.append(
            ActionReport(
                name=name, taken=taken, not_taken=not_taken, viewed=viewed, examples=int(total[place]),
                young=int(examples.young[place]), known=bool(model.known_[place]),
                auc=auc(label, rates[rows]) if both else None, pcoc=pcoc(rates[rows], label) if both else None,
            )
        )  # fmt: skip
    return tuple(found)


def _write(
    out: Path, model: NextBestAction, catalogue: tuple[Action, ...], report: FitReport, kept: ActionExamples, rates: Any
) -> None:
    model.save(out, measures=report.measures)
    write_json(out / CATALOGUE_FILE, actions_json(catalogue))
    told = report._asdict() | {"actions": [one._asdict() for one in report.actions]}
    write_json(out / REPORT_FILE, told)
    (out / PLOT_FILE).unlink(missing_ok=True)
    if report.measures:
        from tribid.models.reliability_plot import reliability_svg

        try:
            drawn = reliability_svg({model.parameters.model: reliability_table(rates, kept.label)})
        except ImportError:
            return
        write_atomically(out / PLOT_FILE, drawn)
