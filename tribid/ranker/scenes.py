"""Scenes of pages: which one a page is in, and under which rules its slots are sold."""

from tribid.envs.journey.config import JourneyWorld
from tribid.envs.scenario import Rules, Scenario


def rules_by_scene(scenario: Scenario) -> dict[str | None, Rules]:
    """The rules of each scene's pages, by the scene's name: the scenario's, with the scene's own slots where it has some.

    Where there are no scenes, pages are in none: the rules are under None.

    >>> from tribid.envs.scenario import load_scenario
    >>> rules = rules_by_scene(load_scenario("journey"))
    >>> rules["home"].slot_effects, rules["cart"].slot_effects
    ((1.0, 0.7, 0.5), (0.8, 0.6))
    """
    if not isinstance(scenario.world, JourneyWorld):
        return {None: scenario.rules}
    return {
        scene.name: scenario.rules
        if scene.slot_effects is None
        else scenario.rules.model_copy(update={"slot_effects": scene.slot_effects})
        for scene in scenario.world.scenes
    }


def first_scene(scenario: Scenario) -> str | None:
    """The scene of a page whose request names none: the first that needs nothing; None where there are no scenes."""
    if not isinstance(scenario.world, JourneyWorld):
        return None
    return next(scene.name for scene in scenario.world.scenes if scene.needs == "nothing")
