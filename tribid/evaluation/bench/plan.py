"""What a comparison of bidders runs: markets, methods and seeds, from one YAML file that is checked first."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, model_validator

from tribid.agents.algorithms import ALGORITHMS
from tribid.agents.plan import SEEDS_PER_TRAINING, TrainingPlan
from tribid.agents.rivals import rivals_in_turn
from tribid.envs.scenario import Scenario, load_scenario
from tribid.evaluation.bench.tuning import Part, Range, Seed, TuningPart, size_of, trial_settings
from tribid.evaluation.contest import HELD_OUT, Protocol
from tribid.evaluation.plan_file import read_plan
from tribid.evaluation.run import chosen_advertisers

PLAN_FOLDER = Path(__file__).parent / "plans"
"""The plans that ship with the package; a name is a file there without its ending."""

_FIELD = "training__"
"""What the name of a setting begins with that is a field of the training plan."""

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,59}$")]


class MarketPart(Part):
    """A market: a scenario by name or path, ``changes`` as ``Scenario.with_changes`` takes, scaled budgets and CPA targets.

    Learners of this market are trained in ``trained_in``, another market of the plan (left out: in this one): a budget is
    part of what a policy sees, so one policy may be judged at several.
    """

    scenario: str
    changes: dict[str, Any] = Field(default_factory=dict)
    budget: float = Field(1.0, gt=0, le=1000, allow_inf_nan=False)
    target_cpa: float = Field(1.0, gt=0, le=1000, allow_inf_nan=False)
    focal: str = ""
    trained_in: str | None = None
    title: str = ""

    def load(self) -> Scenario:
        """The scenario with its changes and budgets."""
        loaded = load_scenario(self.scenario)
        loaded = loaded.with_changes(**self.changes) if self.changes else loaded
        return scaled(loaded, self.budget, self.target_cpa)


class MethodPart(Part):
    """A way to bid: a ``bidder`` known by name (left out: the method's own name), or an ``algorithm`` to train.

    ``training`` holds fields of ``TrainingPlan``, beyond the plan's common ones; ``settings`` what is not to be the
    method's default (``tribid.agents.settings``), and ``space`` from what others are drawn where the plan tunes. ``earlier``
    says how many settings were tried at another time, before the defaults were what they are; None: not counted.
    """

    bidder: str | None = None
    algorithm: str | None = None
    training: dict[str, Any] = Field(default_factory=dict)
    settings: dict[str, Any] = Field(default_factory=dict)
    space: dict[str, Range | tuple[Any, ...]] = Field(default_factory=dict)
    earlier: int | None = Field(None, ge=0)
    source: str = Field("", description="digest of the file of a bidder of one's own; filled in by the command")

    @model_validator(mode="after")
    def _one_or_the_other(self) -> "MethodPart":
        if self.algorithm is None and self.training:
            raise ValueError("training is given without an algorithm; allowed is both or neither")
        if self.algorithm is not None and self.bidder is not None:
            raise ValueError("bidder and algorithm are both given; allowed is one of them")
        if self.algorithm is not None and self.algorithm not in ALGORITHMS:
            raise ValueError(f"no algorithm named {self.algorithm!r}; choose {', '.join(ALGORITHMS)}")
        return self


class CollectPart(Part):
    """Recorded days that offline methods learn from: who bids in turn, how many days, how much noise on the actions."""

    bidders: tuple[str, ...] = ("pid", "dual_pacing", "fixed:0.7", "truthful")
    days: int = Field(40, ge=1, le=10_000)
    first_seed: Seed = 500_000
    noise: float = Field(0.2, ge=0, le=1, allow_inf_nan=False)

    @model_validator(mode="after")
    def _below_the_held_out(self) -> "CollectPart":
        if self.first_seed + self.days > HELD_OUT:
            raise ValueError(
                f"first_seed is {self.first_seed} and days {self.days}; allowed are days whose seeds are below {HELD_OUT}"
            )
        return self


class BenchPlan(Part):
    """A whole comparison; see docs/bidders.md."""

    name: Name
    title: str = ""
    focal: str = "half"
    rivals: tuple[str, ...] = ("pid", "dual_pacing", "truthful")
    eval_days: int = Field(10, ge=2, le=10_000)
    first_eval_seed: int = Field(HELD_OUT, ge=HELD_OUT, lt=2**62)
    train_seeds: tuple[Seed, ...] = Field((0, 1, 2), min_length=1)
    exponents: tuple[float, ...] = (2.0, 3.0)
    training: dict[str, Any] = Field(default_factory=dict)
    tuning: TuningPart | None = None
    collect: CollectPart = CollectPart()
    markets: dict[Name, MarketPart] = Field(min_length=1)
    methods: dict[Name, MethodPart] = Field(min_length=1)

    @model_validator(mode="after")
    def _markets_known(self) -> "BenchPlan":
        for name, market in self.markets.items():
            source = market.trained_in
            if source is not None and (source not in self.markets or self.markets[source].trained_in):
                own = [other for other, part in self.markets.items() if not part.trained_in]
                raise ValueError(f"markets.{name}.trained_in is {source!r}; choose {', '.join(own)}")
        return self

    @model_validator(mode="after")
    def _tuned_on_days_of_their_own(self) -> "BenchPlan":
        tuning = self.tuning
        if tuning is None:
            return self
        if tuning.train_seed in self.train_seeds:
            raise ValueError(f"tuning.train_seed is {tuning.train_seed}; allowed is one that is not in train_seeds")
        last, days = tuning.day_seeds[-1], set(tuning.day_seeds)
        if last >= HELD_OUT:
            raise ValueError(
                f"tuning's days are seeds {tuning.first_day_seed} to {last}; allowed are those below {HELD_OUT}"
            )
        taken = set(range(self.collect.first_seed, self.collect.first_seed + self.collect.days))
        for seed in {0, *self.train_seeds, tuning.train_seed}:  # fits take days of training seed 0
            taken |= set(range(seed * SEEDS_PER_TRAINING, (seed + 1) * SEEDS_PER_TRAINING))
        if days & taken:
            raise ValueError(
                f"tuning's days hold seed {min(days & taken)}; allowed are days that nothing is trained on"
            )
        for name, method in self.methods.items():
            if method.space and size_of(method.space) < tuning.trials - 1:
                raise ValueError(
                    f"methods.{name}.space holds {size_of(method.space):g} settings; allowed are {tuning.trials - 1} or more"
                )
        return self

    def trials_of(self, method: str) -> list[dict[str, Any]]:
        """The settings that are tried of a method, its own first; none where nothing of it is tuned."""
        part = self.methods[method]
        return [] if self.tuning is None else trial_settings(method, part.settings, part.space, self.tuning)

    def part(self, markets: Sequence[str] = (), methods: Sequence[str] = ()) -> "BenchPlan":
        """Only these markets and methods (none named: all)."""
        for kind, wanted, known in (("market", markets, self.markets), ("method", methods, self.methods)):
            for name in wanted:
                if name not in known:
                    raise ValueError(f"no {kind} named {name!r} in plan {self.name}; choose {', '.join(known)}")
        kept = {name: part for name, part in self.markets.items() if not markets or name in markets}
        sources = {part.trained_in for part in kept.values() if part.trained_in}
        kept |= {name: self.markets[name] for name in sources if name not in kept}
        chosen = {name: part for name, part in self.methods.items() if not methods or name in methods}
        return self.model_copy(update={"markets": kept, "methods": chosen})

    def protocol(self, market: str) -> Protocol:
        """Who is judged in a market, against whom and on which days."""
        scenario = self.markets[market].load()
        return Protocol(
            scenario=scenario,
            focal=self.judged(market, scenario),
            rivals=rivals_in_turn(self.rivals, scenario),
            eval_seeds=tuple(range(self.first_eval_seed, self.first_eval_seed + self.eval_days)),
        )

    def judged(self, market: str, scenario: Scenario) -> tuple[int, ...]:
        """Who is judged in a market, and learns in it."""
        return chosen_advertisers(self.markets[market].focal or self.focal, scenario)

    def training_plan(
        self, market: str, method: str, data: str = "", settings: Mapping[str, Any] | None = None
    ) -> TrainingPlan:
        """How a method is trained in a market (all but the seed), with its own settings or these.

        A setting ``training__NAME`` is the field NAME of the training plan.
        """
        part, scenario = self.methods[method], self.markets[market].load()
        chosen = part.settings if settings is None else settings
        fields = {**self.training, **part.training}
        fields |= {name.removeprefix(_FIELD): value for name, value in chosen.items() if name.startswith(_FIELD)}
        try:
            return TrainingPlan(
                scenario=scenario,
                algorithm=str(part.algorithm),
                learners=self.judged(market, scenario),
                rivals=self.rivals,
                data=data,
                settings={name: value for name, value in chosen.items() if not name.startswith(_FIELD)},
                **fields,
            )
        except TypeError as error:
            raise ValueError(f"methods.{method}.training: {error}") from None


def scaled(scenario: Scenario, budget: float, target_cpa: float = 1.0) -> Scenario:
    """The same market with every budget times ``budget`` and every listed target CPA times ``target_cpa``.

    ``ValueError`` for targets of generated advertisers: those follow from their items.
    """
    if budget == target_cpa == 1.0:
        return scenario
    if scenario.advertisers:
        own = []
        for who in scenario.advertisers:
            target = None if who.target_cpa is None else who.target_cpa * target_cpa
            own.append(who.model_copy(update={"budget": who.budget * budget, "target_cpa": target}).model_dump())
        return scenario.with_changes(advertisers=own)
    if target_cpa != 1.0 or scenario.generated is None:
        raise ValueError(
            f"target_cpa is {target_cpa:g}; allowed is 1 where advertisers are generated ({scenario.name})"
        )
    return scenario.with_changes(generated__budget_share=scenario.generated.budget_share * budget)


def plan_names() -> list[str]:
    """The plans that ship with the package."""
    return sorted(path.stem for path in PLAN_FOLDER.glob("*.yaml"))


def load_plan(plan: str | Path) -> BenchPlan:
    """A plan by name or from a YAML file; one ``ValueError`` names every bad field, its value and what is allowed."""
    return read_plan(BenchPlan, plan, PLAN_FOLDER)
