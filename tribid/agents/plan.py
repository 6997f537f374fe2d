"""What is to be trained: who learns, against whom, how long and on which device."""

import re
from dataclasses import dataclass
from typing import Literal

from tribid.agents.algorithms import ALGORITHMS
from tribid.agents.bidder import BidderSpace, Lineup, policy_mapping
from tribid.agents.rivals import rivals_in_turn
from tribid.envs.scenario import Scenario
from tribid.envs.world import build_world

SEEDS_PER_TRAINING = 1000
"""Training seed s uses the market seeds from ``1000 s`` on (with more markets than that, from the next multiple)."""

FIRST_EVALUATION_SEED = 1_000_000
"""Where the market seeds of evaluation begin; no training comes so far."""

MARKETS_ON_DEVICE = 100_000
"""The most markets that the device engine trains in."""


@dataclass(frozen=True, kw_only=True)
class TrainingPlan:
    """What to train: who learns, against whom, how long.

    ``learners`` are advertiser indices (None: all). ``rivals`` names the bidder of each other advertiser in turn.
    ``steps`` counts advertiser-steps of each policy (one learner, one tick). ``warm_start`` names the bidder that the
    policies first imitate (empty: none). ``outcomes`` of the training market: ``expected`` pays clicks and conversions by
    their true probability, which takes the coin flips out of the rewards; evaluation always samples them.

    ``device`` is ``cpu``, ``cuda``, ``cuda:N``, or ``auto`` (a GPU where torch sees one). ``engine`` says what trains:
    ``sb3`` is Stable-Baselines3, always on the CPU; ``device`` is ``tribid.agents.device_ppo``, which keeps markets and
    learner on ``device``; ``auto`` takes the second on a GPU and the first on the CPU.

    ``data`` is the file or folder of recorded trajectories (``tribid collect``) that an offline algorithm learns from;
    others take none.
    """

    scenario: Scenario
    algorithm: str = "ppo"
    mapping: str = "shared"
    learners: tuple[int, ...] | None = None
    rivals: tuple[str, ...] = ("truthful",)
    seed: int = 0
    steps: int = 300_000
    num_markets: int = 4
    rounds: int = 1
    warm_start: str = "pid"
    outcomes: Literal["sampled", "expected"] = "expected"
    tensorboard: bool = True
    engine: Literal["auto", "sb3", "device"] = "auto"
    device: str = "cpu"
    data: str = ""

    def __post_init__(self) -> None:
        if self.engine not in ("auto", "sb3", "device"):
            raise ValueError(f"engine is {self.engine!r}; allowed is auto, sb3 or device")
        if self.outcomes not in ("sampled", "expected"):
            raise ValueError(f"outcomes is {self.outcomes!r}; allowed is sampled or expected")
        device, on_device = self.torch_device, self.on_device
        for name, low, high in (
            ("steps", 1, 10**12),
            ("num_markets", 1, MARKETS_ON_DEVICE if on_device else SEEDS_PER_TRAINING),
            ("rounds", 1, 10**6),
        ):
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name} is {getattr(self, name)}; allowed is {low} to {high}")
        most = FIRST_EVALUATION_SEED // self._seeds_apart - 1
        if not 0 <= self.seed <= most:
            raise ValueError(f"seed is {self.seed}; allowed is 0 to {most} with {self.num_markets} markets")
        if self.algorithm not in ALGORITHMS:
            raise ValueError(f"no algorithm named {self.algorithm!r}; choose {', '.join(ALGORITHMS)}")
        offline = ALGORITHMS[self.algorithm].offline
        if offline != bool(self.data):
            wanted = (
                "recorded trajectories, as tribid collect writes them" if offline else "none: it learns in a market"
            )
            raise ValueError(f"data is {self.data!r}; allowed with algorithm {self.algorithm!r} is {wanted}")
        if self.engine == "sb3" and device != "cpu":
            raise ValueError(f"device is {device!r}; allowed with engine='sb3' is 'cpu' (engine='device' uses a GPU)")
        if on_device and self.algorithm != "ppo":
            raise ValueError(f"algorithm is {self.algorithm!r}; allowed on engine='device' is ppo")
        if on_device and self.rounds != 1:
            raise ValueError(
                f"rounds is {self.rounds}; allowed on engine='device' is 1, where all policies learn at once"
            )

    @property
    def torch_device(self) -> str:
        """The torch device that ``device`` comes to on this machine: ``cpu``, ``cuda`` or ``cuda:N``."""
        return _torch_device(self.device)

    @property
    def on_device(self) -> bool:
        """Whether ``tribid.agents.device_ppo`` trains, rather than Stable-Baselines3."""
        return self.engine == "device" or (self.engine == "auto" and self.torch_device != "cpu")

    @property
    def first_market_seed(self) -> int:
        """The seed of the first market; market m has this plus m, and no two training seeds share one."""
        return self.seed * self._seeds_apart

    @property
    def _seeds_apart(self) -> int:
        return -(-self.num_markets // SEEDS_PER_TRAINING) * SEEDS_PER_TRAINING


@dataclass(frozen=True, kw_only=True)
class Roster:
    """Who learns what: ``mapping`` from a learner's name to its policy's, ``rows`` the advertisers of each policy.

    ``rivals`` drives the advertisers that do not learn; its places of learners are taken out of it.
    """

    learners: tuple[int, ...]
    mapping: dict[str, str]
    rows: dict[str, list[int]]
    rivals: Lineup
    space: BidderSpace

    @classmethod
    def of(cls, plan: TrainingPlan) -> "Roster":
        """The roster of a plan; ``ValueError`` names a learner, mapping or rival that is not there."""
        advertisers = build_world(plan.scenario).advertisers
        learners = tuple(range(len(advertisers))) if plan.learners is None else plan.learners
        if not learners or len(set(learners)) < len(learners) or not set(learners) <= set(range(len(advertisers))):
            raise ValueError(
                f"learners are {list(learners)}; allowed are one or more of 0 to {len(advertisers) - 1}, each once"
            )
        drivers = policy_mapping(plan.mapping, advertisers)
        return cls(
            learners=learners,
            mapping={advertisers.names[who]: drivers[who] for who in learners},
            rows={
                name: [who for who in learners if drivers[who] == name]
                for name in dict.fromkeys(drivers[who] for who in learners)
            },
            rivals=rivals_in_turn(plan.rivals, plan.scenario),
            space=BidderSpace.of(plan.scenario),
        )

    @property
    def names(self) -> tuple[str, ...]:
        """The policies' names."""
        return tuple(self.rows)


def _torch_device(device: str) -> str:
    if not re.fullmatch(r"cpu|auto|cuda(:\d+)?", device):
        raise ValueError(f"device is {device!r}; allowed is cpu, cuda, cuda:N or auto")
    if device == "cpu":
        return "cpu"
    try:
        import torch  # here, so that a plan for the CPU needs no torch
    except ImportError as error:
        raise ImportError("training needs torch and Stable-Baselines3: pip install 'tribid[train]'") from error
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "auto":
        return "cuda" if count else "cpu"
    if int(device.partition(":")[2] or 0) >= count:
        raise ValueError(
            f"device is {device!r}, but torch {torch.__version__} sees {count} CUDA device(s); choose device 'cpu' "
            "(or 'auto'), or install the driver and a CUDA build of torch (https://pytorch.org/get-started)"
        )
    return device
