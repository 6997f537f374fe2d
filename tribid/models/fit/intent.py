"""The purchase intent index, from a touch log to a run's folder."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tribid.envs.attribution.touch_file import read_touch_log
from tribid.models.fit.settings import built
from tribid.models.intent.index import PurchaseIntentIndex
from tribid.models.intent.quality import fit_index, ranking_quality


@dataclass(frozen=True, kw_only=True)
class IntentFit:
    """What is fitted: the index with its ``settings``, from a touch log; the last ``test_days`` are foretold to measure."""

    log: Path
    test_days: float = 7.0
    settings: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.test_days > 0:
            raise ValueError(f"test_days is {self.test_days!r}; allowed are positive numbers")


def fit_intent(plan: IntentFit, folder: str | Path) -> tuple[PurchaseIntentIndex, dict[str, float]]:
    """Fit before the last days, measure on them, fit on the whole log, write the run; the index and the measures."""
    log = read_touch_log(plan.log)
    times = [one.time_hours for one in (log.touches, log.orders) if len(one)]
    end = max(float(column.max()) for column in times)
    start = min(float(column.min()) for column in times)
    cut = end - 24.0 * plan.test_days
    if cut <= start:
        raise ValueError(
            f"{plan.log} spans {(end - start) / 24.0:.1f} days; allowed is more than the {plan.test_days:g} to measure on"
        )

    def index() -> PurchaseIntentIndex:
        made = built("purchase_intent", PurchaseIntentIndex, plan.settings, industries=log.industries)
        assert isinstance(made, PurchaseIntentIndex)
        return made

    measures = ranking_quality(
        log.touches, log.orders, log.industry, hours=cut, horizon_hours=end - cut + 1e-6, index=index()
    )
    model = fit_index(index(), log.touches, log.orders, log.industry, end + 1e-6)
    model.save(folder, measures)
    return model, measures
