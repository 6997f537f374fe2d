"""What a run leaves: figures and curves in one JSON file with a checked schema."""

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tribid.benchmark.figure import Figure
from tribid.benchmark.machine import Machine
from tribid.files import read_json, write_json

SCHEMA: Literal[2] = 2
FILE = "benchmark.json"


class Point(BaseModel):
    """A point of a curve: ``seconds`` is a median, ``low`` and ``high`` the least and the most."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    x: float = Field(gt=0, allow_inf_nan=False)
    seconds: float = Field(gt=0, allow_inf_nan=False)
    low: float = Field(gt=0, allow_inf_nan=False)
    high: float = Field(gt=0, allow_inf_nan=False)


class Curve(BaseModel):
    """CPU seconds against something that grows."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: str = Field(min_length=1)
    x: str = Field(min_length=1)
    y: str = Field(min_length=1)
    points: list[Point] = Field(min_length=1)


class Results(BaseModel):
    """One run of ``tribid benchmark``. ``figures`` begin with the yardsticks; ``notes`` say what was left out, and why."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    kind: Literal[2] = Field(SCHEMA, alias="schema")
    created: str = Field(min_length=1)
    command: str = Field(min_length=1)
    commit: str | None
    quick: bool
    machine: Machine
    figures: list[Figure] = Field(min_length=1)
    curves: list[Curve] = []
    notes: list[str] = []

    @model_validator(mode="after")
    def _names_are_unique(self) -> "Results":
        names = [figure.name for figure in self.figures]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"figures: {', '.join(twice)} stand more than once; each name is allowed once")
        return self

    def figure(self, name: str) -> Figure | None:
        """The figure of that name, None where it was not measured."""
        return next((figure for figure in self.figures if figure.name == name), None)


def save_results(results: Results, path: Path) -> None:
    """Write the file whole or not at all."""
    write_json(path, json.loads(results.model_dump_json(by_alias=True)))


def load_results(path: Path) -> Results:
    """Read and check a file; ``ValueError`` names every field that is wrong, with what came and what is allowed."""
    content = read_json(path)
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        found = content.get("schema") if isinstance(content, dict) else type(content).__name__
        raise ValueError(f"{path} is no benchmark file: schema is {found!r}; allowed is {SCHEMA}")
    try:
        return Results.model_validate(content)
    except ValidationError as error:
        lines = [f"  {_where(detail['loc'], content)}: {_what(detail)}" for detail in error.errors()]
        raise ValueError(f"{path} is no valid benchmark file:\n" + "\n".join(lines)) from None


def _where(location: tuple[int | str, ...], content: Any) -> str:
    """The field's path; a figure or a curve is called by its name where it has one."""
    path, part = [], content
    for step in location:
        try:
            part = part[step]
        except (KeyError, IndexError, TypeError):
            part = None
        name = part.get("name") if isinstance(part, dict) else None
        path.append(f"[{name}]" if isinstance(step, int) and isinstance(name, str) else str(step))
    return ".".join(path).replace(".[", "[") or "the file"


def _what(detail: Any) -> str:
    message = detail["msg"].removeprefix("Value error, ")
    return str(message) if detail["type"] == "value_error" else f"{detail['input']!r:.60} is not allowed: {message}"
