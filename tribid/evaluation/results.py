"""results.json: one documented file that holds everything a report shows.

Schema 1, all money in currency units, all rates as shares, ``null`` where a number is not defined:

* ``schema`` 1, ``tribid`` version, ``created`` (UTC, ISO 8601), ``command``, ``commit``, ``machine``, ``seconds``
* ``scenario``: ``name``, ``hash``, ``description``, ``advertisers`` {name: {objective, budget}}
* ``protocol``: ``focal`` names, ``rivals`` {advertiser: bidder}, ``eval_seeds``, ``statistic``, and the
  platform's learnt ``parts`` {part: folder}
* ``metrics``: [{side, name, unit, better, meaning}], the order of every table
* ``contestants``: {name: {``kind``, ``trained_on``, ``summary`` {metric: {point, low, high}}, ``runs`` [{train_seed,
  eval_seed, sides {side: {metric: number}}, advertisers {name: {...}}}], ``curves`` {spent, multiplier, plan: [ticks]},
  ``journey`` {days, stages, flows [{stage, users, pairs, to}], scenes [{name, users, ...}]}, of kind journey alone}}
* ``comparison``: ``baseline``, ``differences`` {name: {point, low, high}}, ``winner`` (or null), ``statement``
* ``learning``: {contestant: {training seed: [{steps, score}]}}, empty where nothing was trained
"""

import json
import math
import platform
import subprocess
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

import tribid
from tribid.envs.scenario import MICROS, OBJECTIVES
from tribid.envs.world import build_world
from tribid.evaluation.contest import Contestant, Judgement, Protocol, Run
from tribid.evaluation.flows import journey_results
from tribid.evaluation.statistics import Interval
from tribid.evaluation.welfare import METRICS
from tribid.files import write_json

SCHEMA = 1


def results_of(
    judgement: Judgement, *, seconds: float, learning: dict[str, dict[str, list[dict[str, float]]]] | None = None
) -> dict[str, Any]:
    """The judgement as plain data in the schema above."""
    return {
        "schema": SCHEMA,
        "tribid": tribid.__version__,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "commit": commit(),
        "machine": machine(),
        "seconds": round(seconds, 1),
        "scenario": _scenario(judgement.protocol),
        "protocol": _protocol(judgement.protocol),
        "metrics": [metric._asdict() for metric in METRICS],
        "contestants": {
            contestant.name: _contestant(
                contestant, judgement.runs[contestant.name], judgement.summary[contestant.name]
            )
            for contestant in judgement.contestants
        },
        "comparison": {
            "baseline": judgement.baseline,
            "differences": {name: asdict(interval) for name, interval in judgement.differences.items()},
            "winner": judgement.winner,
            "statement": judgement.statement,
        },
        "learning": learning or {},
    }


def save_results(results: dict[str, Any], path: str | Path) -> None:
    """Write results.json whole or not at all."""
    write_json(Path(path), results)


def load_results(path: str | Path) -> dict[str, Any]:
    """Read results.json; ``ValueError`` names what is wrong with it."""
    try:
        results = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"results file {path} cannot be read: {error}") from error
    if not isinstance(results, dict) or results.get("schema") != SCHEMA:
        found = results.get("schema") if isinstance(results, dict) else type(results).__name__
        raise ValueError(f"results file {path}: schema is {found!r}; allowed is {SCHEMA}")
    wanted = {"scenario", "protocol", "metrics", "contestants", "comparison", "learning"}
    if missing := sorted(wanted - set(results)):
        raise ValueError(f"results file {path} lacks {', '.join(missing)}")
    return results


def machine() -> str:
    """The machine's class in words: system, architecture, cores, Python and numpy."""
    import os

    return (
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}, numpy {np.__version__}"
    )


def commit() -> str | None:
    """The git commit of the code, with ``+`` for local changes; None outside a checkout."""
    folder = Path(tribid.__file__).parent
    try:
        answer = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--abbrev=12"],
            cwd=folder, capture_output=True, text=True, timeout=5, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() or None


def plain(value: Any) -> Any:
    """Numbers and arrays as JSON takes them; what is not finite becomes None."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value


def _scenario(protocol: Protocol) -> dict[str, Any]:
    scenario, advertisers = protocol.scenario, build_world(protocol.scenario).advertisers
    return {
        "name": scenario.name,
        "hash": scenario.hash,
        "description": scenario.description.strip(),
        "advertisers": {
            name: {
                "objective": OBJECTIVES[advertisers.objective[i]],
                "budget": float(advertisers.budget_micros[i] / MICROS),
            }
            for i, name in enumerate(advertisers.names)
        },
    }


def _protocol(protocol: Protocol) -> dict[str, Any]:
    everybody = build_world(protocol.scenario).advertisers.names
    rivals = {}
    if protocol.rivals is not None:
        drivers = zip(everybody, protocol.rivals.mapping, strict=True)
        rivals = {name: driver for i, (name, driver) in enumerate(drivers) if i not in protocol.focal}
    return {
        "focal": list(protocol.names),
        "rivals": rivals,
        "eval_seeds": list(protocol.eval_seeds),
        "statistic": "interquartile mean, 95 % two-level bootstrap interval over training seeds and days",
        "parts": {part: Path(folder).name for part, folder in asdict(protocol.parts).items() if folder},
    }


def _contestant(contestant: Contestant, runs: list[Run], summary: dict[str, Interval | None]) -> dict[str, Any]:
    curves = {key: np.mean([run.curves[key] for run in runs], axis=0) for key in runs[0].curves}
    days = [run.journey for run in runs if run.journey is not None]
    journey = {"journey": plain(journey_results(days))} if days else {}
    return {
        "kind": contestant.kind,
        "trained_on": contestant.trained_on,
        "summary": {name: asdict(interval) if interval else None for name, interval in summary.items()},
        "runs": [
            {
                "train_seed": run.train_seed if run.train_seed >= 0 else None,
                "eval_seed": run.eval_seed,
                "sides": plain(run.sides),
                "advertisers": plain(run.advertisers),
            }
            for run in runs
        ],
        "curves": plain(curves),
    } | journey
