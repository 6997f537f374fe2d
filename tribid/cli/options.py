"""Options that several commands take, and how their text is read."""

from typing import Annotated, Any

import typer

ScenarioName = Annotated[
    str, typer.Option("--scenario", "-s", help="A scenario's name (see `tribid scenario list`) or a YAML file.")
]
Rivals = Annotated[str, typer.Option(help="Bidders of the advertisers that are not judged, in turn, comma-separated.")]
AnyScenario = Annotated[
    bool, typer.Option("--any-scenario", help="Serve policies that were trained in another scenario, too.")
]
RIVALS = "pid,dual_pacing,truthful"


def names(text: str) -> tuple[str, ...]:
    """The parts of a comma-separated text, without empty ones."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def focal_advertisers(text: str, scenario: Any) -> tuple[int, ...]:
    """Indices of the advertisers that ``half``, ``all`` or a list of names chooses in a scenario."""
    from tribid.evaluation.run import chosen_advertisers

    return chosen_advertisers(text, scenario)


def one_of(value: str, *allowed: str) -> Any:
    """Return the value if it is allowed; ``ValueError`` names the choices if not."""
    if value not in allowed:
        raise ValueError(f"{value!r} is not known; choose {' or '.join(allowed)}")
    return value


def whole(name: str, text: str) -> int:
    """Return the text as a whole number from 0; ``ValueError`` calls it by the option's name if it is none."""
    if not text.isdigit():
        raise ValueError(f"{name} holds {text!r}; allowed are whole numbers from 0, comma-separated")
    return int(text)
