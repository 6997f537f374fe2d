"""Ways to learn by name: what ``tribid train --algorithm`` accepts, and where each is taught."""

from importlib import import_module
from typing import Any, NamedTuple


class Algorithm(NamedTuple):
    """What a method is, its classroom (imported when it is opened, so that a name costs no library), and its data.

    ``offline``: it learns from recorded trajectories alone (``TrainingPlan.data``) and never meets a market.
    """

    what: str
    module: str = "tribid.agents.training"
    classroom: str = "Sb3Classroom"
    offline: bool = False

    def load(self) -> Any:
        """The classroom's class: made from a plan, the run's folder, and whom to tell; ``training.Classroom``."""
        return getattr(import_module(self.module), self.classroom)


ALGORITHMS: dict[str, Algorithm] = {
    "ppo": Algorithm("proximal policy optimisation (Schulman et al., 2017)"),
    "sac": Algorithm("soft actor-critic (Haarnoja et al., ICML 2018)"),
}
"""What may train a policy."""
