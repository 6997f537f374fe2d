"""Scenario files: what is wrong with one is said in a single error, what is right is frozen and named by its hash."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from tribid.envs import market
from tribid.envs.scenario import MICROS, Scenario, load_scenario, parse_scenario, scenario_names
from tribid.envs.world import build_world

LISTED = "name: bad\nadvertisers:\n  - "

# What stands in the file, and what the error must name: the field, the value, what is allowed.
MALFORMED = {
    "YAML syntax": ("name: [unclosed", ("is not YAML", "line 1")),
    "tab as indent": ("name: x\nrules:\n\tauction: gsp", ("is not YAML", "line 3")),
    "python object": ("name: !!python/object/apply:os.system ['true']", ("is not YAML", "python/object")),
    "impossible date": ("name: 2026-13-45", ("is not YAML", "month")),
    "too deep": ("name: " + "[" * 5000, ("is not YAML",)),
    "list": ("[1, 2]", ("mapping", "[1, 2]")),
    "a word": ("feed", ("mapping", "'feed'")),
    "empty": ("", ("mapping", "None")),
    "only a comment": ("# nothing\n", ("mapping", "None")),
    "no name": ("rules: {auction: gsp}", ("name", "required")),
    "empty name": ("name: ''", ("name", "''", "at least 1 character")),
    "unknown key": ("name: x\nruels: {}", ("ruels", "not permitted; allowed are name, description, world")),
    "unknown inner key": (
        "name: x\nrules: {auctoin: gsp}",
        ("rules.auctoin", "'gsp'", "allowed are auction, slot_effects"),
    ),
    "key is a number": ("name: x\n7: 8", ("7",)),
    "unknown auction": ("name: x\nrules: {auction: gps}", ("rules.auction", "'gps'", "'first_price', 'gsp' or 'vcg'")),
    "NaN money": (LISTED + "{name: a, budget: .nan}", ("advertisers.0.budget", "nan", "finite")),
    "infinite money": (LISTED + "{name: a, budget: .inf}", ("advertisers.0.budget", "inf", "finite")),
    "a key twice": ("name: x\nrules: {auction: gsp, auction: vcg}", ("auction", "more than once")),
    "true for a number": ("name: x\nworld: {traffic: {ticks: yes}}", ("world.traffic", "ticks is True")),
    "negative money": (
        LISTED + "{name: a, budget: -1}",
        ("advertisers.0.budget", "-1", "greater than or equal to"),
    ),
    "no money": (LISTED + "{name: a, budget: 0}", ("advertisers.0.budget", "0", "greater than or equal to")),
    "too much money": (
        LISTED + "{name: a, budget: 1.0e+12}",
        ("advertisers.0.budget", "less than or equal to 1000000000"),
    ),
    "negative reserve": ("name: x\nrules: {reserve: -0.01}", ("rules.reserve", "-0.01", "greater than or equal to 0")),
    "text for a number": ("name: x\nworld: {traffic: {ticks: many}}", ("world.traffic.ticks", "'many'", "integer")),
    "part of a tick": ("name: x\nworld: {traffic: {ticks: 1.5}}", ("world.traffic.ticks", "1.5", "integer")),
    "no ticks": ("name: x\nworld: {traffic: {ticks: 0}}", ("world.traffic.ticks", "0", "greater than or equal to 1")),
    "rising slots": ("name: x\nrules: {slot_effects: [0.5, 0.7]}", ("rules.slot_effects", "(0.5, 0.7)", "not rising")),
    "no slots": ("name: x\nrules: {slot_effects: []}", ("rules.slot_effects", "()", "at least one")),
    "slot above one": (
        "name: x\nrules: {slot_effects: [1.2]}",
        ("rules.slot_effects.0", "1.2", "less than or equal to 1"),
    ),
    "same name twice": (
        LISTED + "{name: a}\n  - {name: b}\n  - {name: a}",
        ("advertisers", "a listed more than once", "each name is allowed once"),
    ),
    "target without its objective": (
        LISTED + "{name: a, objective: max_gmv, target_cpa: 9}",
        ("'a'", "target_cpa is 9.0", "no target_cpa"),
    ),
    "objective without its target": (
        LISTED + "{name: a, objective: target_roas}",
        ("'a'", "target_roas is None", "a positive target_roas"),
    ),
    "both targets": (
        LISTED + "{name: a, objective: target_cpa, target_cpa: 9, target_roas: 2}",
        ("target_roas is 2.0", "no target_roas"),
    ),
    "curve of another length": (
        "name: x\nworld: {traffic: {ticks: 3, curve: [1, 2]}}",
        ("traffic.curve has 2 weights", "each of the 3 ticks"),
    ),
    "curve of zeros": ("name: x\nworld: {traffic: {ticks: 2, curve: [0, 0]}}", ("sum 0", "not all zero")),
    "negative curve": (
        "name: x\nworld: {traffic: {ticks: 2, curve: [1, -1]}}",
        ("world.traffic.curve.1", "-1", "greater than or equal to 0"),
    ),
    "unknown world": ("name: x\nworld: {kind: moon}", ("world", "'moon'", "'feed', 'shop', 'auctionnet', 'replay'")),
    "world is a number": ("name: x\nworld: 3", ("world", "3")),
    "key of another world": (
        "name: x\nworld: {kind: auctionnet, categories: 3}",
        ("world.categories", "3", "not permitted; allowed are kind, traffic"),
    ),
    "nobody in a world that generates none": (
        "name: x\nworld: {kind: auctionnet}",
        ("advertisers: none listed", "auctionnet"),
    ),
    "segments where there are no users": (
        "name: x\nworld: {kind: auctionnet}\nrules: {segments: state}\nadvertisers: [{name: a}]",
        ("rules.segments is 'state'", "auctionnet"),
    ),
    "multiplier cap of one": ("name: x\nrules: {max_multiplier: 1}", ("rules.max_multiplier", "1", "greater than 1")),
    "seed too large": (
        "name: x\nworld: {seed: 9223372036854775808}",
        ("world.seed", "9223372036854775808", "less than"),
    ),
    "no objectives": ("name: x\ngenerated: {objectives: []}", ("generated.objectives", "at least 1")),
    "unknown objective": (
        "name: x\ngenerated: {objectives: [fame]}",
        ("generated.objectives.0", "'fame'", "'max_clicks'"),
    ),
}


@pytest.mark.parametrize(
    ("world", "field"),
    [
        ("{kind: journey, scenes: [{name: a, channel: telex}]}", "world.scenes.0.channel: 'telex'"),
        ("{kind: journey, triggers: [{name: a, kind: drop}]}", "world.triggers.0.kind: 'drop'"),
    ],
)
def test_a_list_with_a_wrong_entry_is_not_told_to_be_empty_too(tmp_path: Path, world: str, field: str) -> None:
    with pytest.raises(ValueError) as caught:
        load_scenario(put(tmp_path, f"name: x\nworld: {world}\nadvertisers: [{{name: a}}]"))
    _, *lines = str(caught.value).splitlines()
    assert len(lines) == 1 and field in lines[0] and "Input should be " in lines[0]


def test_a_list_that_is_empty_is_told_so_beside_other_errors(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"rules\.auction.*\n.*generated\.objectives: .*at least 1"):
        load_scenario(put(tmp_path, "name: x\ngenerated: {objectives: []}\nrules: {auction: gps}"))


def put(folder: Path, content: str | bytes, name: str = "bad.yaml") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize("kind", MALFORMED)
def test_a_malformed_scenario_gives_one_error_that_names_field_value_and_what_is_allowed(
    tmp_path: Path, kind: str
) -> None:
    text, named = MALFORMED[kind]
    path = put(tmp_path, text)
    with pytest.raises(ValueError) as caught:
        load_scenario(path)
    assert type(caught.value) is ValueError
    message = str(caught.value)
    assert str(path) in message
    for part in named:
        assert part in message
    assert len(message) < 2000


@pytest.mark.parametrize(
    "content", [b"\x00\x01\x02\xff\xfe", b"PAR1" + bytes(range(256)), b"\xff\xfe" + "name: x".encode("utf-16-le")]
)
def test_a_binary_file_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(ValueError, match=r"cannot be read|is not YAML") as caught:
        load_scenario(put(tmp_path, content))
    assert "bad.yaml" in str(caught.value)


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(ValueError, match=r"no_such_folder/x\.yaml cannot be read"):
        load_scenario("no_such_folder/x.yaml")


def test_a_folder_is_not_a_scenario(tmp_path: Path) -> None:
    (tmp_path / "folder.yaml").mkdir()
    with pytest.raises(ValueError, match="cannot be read"):
        load_scenario(tmp_path / "folder.yaml")


def test_an_unknown_name_lists_the_names_to_choose_from() -> None:
    with pytest.raises(
        ValueError, match=r"no scenario named 'fede'; choose auctionnet, feed, .*or a path ending in .yaml"
    ):
        load_scenario("fede")


def test_all_faults_of_a_file_are_told_at_once(tmp_path: Path) -> None:
    text = "name: x\nrules: {auction: gps, reserve: -1}\nadvertisers: [{name: a, budget: .nan}]"
    with pytest.raises(ValueError) as caught:
        load_scenario(put(tmp_path, text))
    assert all(field in str(caught.value) for field in ("rules.auction", "rules.reserve", "advertisers.0.budget"))


def test_aliases_that_multiply_a_value_a_billion_times_are_refused_at_once(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    text = "\n".join([*lines, "name: *a8", "description: *a8"])
    with pytest.raises(ValueError, match="name") as caught:
        load_scenario(put(tmp_path, text))
    assert len(str(caught.value)) < 10_000


@pytest.mark.parametrize("name", scenario_names())
def test_a_shipped_scenario_loads_and_bears_its_file_name(name: str) -> None:
    scenario = load_scenario(name)
    assert scenario.name == name
    assert scenario.description


def test_the_tiny_feed_and_auctionnet_scenarios_ship() -> None:
    assert {"tiny", "feed", "auctionnet"} <= set(scenario_names())


def test_a_scenario_is_accepted_by_name_path_and_object() -> None:
    scenario = load_scenario("tiny")
    path = Path(sys.modules["tribid.envs.scenario"].SCENARIO_FOLDER) / "tiny.yaml"
    assert load_scenario(path) == load_scenario(str(path)) == scenario
    assert load_scenario(scenario) is scenario


def test_the_world_is_a_feed_where_no_kind_is_given() -> None:
    assert parse_scenario({"name": "x", "world": {"categories": 2}}).world.kind == "feed"


def test_a_scenario_is_frozen_down_to_its_leaves() -> None:
    scenario = load_scenario("tiny")
    for part, field in (
        (scenario, "name"),
        (scenario.rules, "reserve"),
        (scenario.world, "seed"),
        (scenario.rules.ocpc, "alpha"),
    ):
        with pytest.raises(ValidationError, match="frozen"):
            setattr(part, field, getattr(part, field))


def test_a_copy_with_changes_leaves_the_original_and_is_validated() -> None:
    scenario = load_scenario("tiny")
    changed = scenario.with_changes(rules__auction="vcg", world__traffic__ticks=4)
    assert (changed.rules.auction, changed.world.traffic.ticks) == ("vcg", 4)
    assert (scenario.rules.auction, scenario.world.traffic.ticks) == ("gsp", 8)
    with pytest.raises(ValueError, match=r"rules\.auction: 'gps'"):
        scenario.with_changes(rules__auction="gps")


def test_a_copy_without_changes_is_equal_and_has_the_same_hash() -> None:
    for name in scenario_names():
        scenario = load_scenario(name)
        assert scenario.with_changes() == scenario
        assert scenario.with_changes().hash == scenario.hash


def _leaves(content: dict, path: str = "") -> list[tuple[str, object]]:
    found: list[tuple[str, object]] = []
    for key, value in content.items():
        found += _leaves(value, f"{path}{key}__") if isinstance(value, dict) else [(f"{path}{key}", value)]
    return found


def test_every_single_number_of_a_feed_changes_the_hash() -> None:
    scenario = load_scenario("tiny")
    seen = {scenario.hash}
    changed = 0
    for path, value in _leaves(scenario.model_dump()):
        if isinstance(value, int | float) and not isinstance(value, bool):
            for other in (value * 0.5, value + 1, value + 0.25, value / 2 + 0.3):
                try:
                    copy = scenario.with_changes(**{path: other})
                except ValueError:
                    continue
                if copy != scenario:
                    assert copy.hash not in seen, path
                    seen.add(copy.hash)
                    changed += 1
                    break
    assert changed > 35  # the fields of the feed world, the rules, the generated advertisers and the reward


def test_the_hash_does_not_change_with_name_and_description() -> None:
    scenario = load_scenario("tiny")
    assert scenario.with_changes(name="other", description="something else").hash == scenario.hash


def test_no_generated_budget_is_below_the_least_and_the_others_stay() -> None:
    tiny = load_scenario("tiny")
    plain = market.reset(tiny, 0).advertisers.budget_micros
    least = int(np.sort(plain)[1]) / MICROS
    raised = market.reset(tiny.with_changes(generated__least_budget=least), 0).advertisers.budget_micros
    np.testing.assert_array_equal(raised, np.maximum(plain, round(least * MICROS)))
    assert (raised != plain).sum() == 1
    assert market.reset(load_scenario("journey"), 0).advertisers.budget_micros.min() == 5 * MICROS


def test_the_hash_does_not_depend_on_the_order_or_spelling_of_a_file(tmp_path: Path) -> None:
    one = put(tmp_path, "name: x\nrules: {reserve: 1, auction: vcg}\nworld: {seed: 3, categories: 2}", "one.yaml")
    two = put(
        tmp_path,
        "world: {categories: 2, kind: feed, seed: 3}\nrules: {auction: vcg, reserve: 1.0}\nname: x",
        "two.yaml",
    )
    assert load_scenario(one).hash == load_scenario(two).hash


def test_the_hash_is_the_same_in_every_process() -> None:
    code = "from tribid.envs.scenario import *; print([load_scenario(name).hash for name in scenario_names()])"
    told = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout.strip()
        for seed in ("0", "1", "4242")
    }
    assert told == {str([load_scenario(name).hash for name in scenario_names()])}


REPLAY = """
name: x
world: {kind: replay, ticks: 1, log: log.csv}
rules: {slot_effects: [1.0], charge: impression}
advertisers: [{name: a}]
"""


def _replay(folder: Path, rows: str) -> Scenario:
    folder.mkdir()
    put(folder, "click,market_price_micros,pctr\n" + rows, "log.csv")
    return load_scenario(put(folder, REPLAY, "replay.yaml"))


def test_the_hash_of_a_replay_names_the_rows_of_its_log_and_not_its_place(tmp_path: Path) -> None:
    one, same = (_replay(tmp_path / name, "0,70,0.5\n") for name in ("one", "same"))
    other = _replay(tmp_path / "other", "1,70,0.5\n1,80,0.5\n")
    assert one.hash == same.hash != other.hash
    assert len(build_world(one).arrivals(build_world(one).day(0, 0), 0).requests.request) == 1
    assert len(build_world(other).arrivals(build_world(other).day(0, 0), 0).requests.request) == 2


def test_a_replay_that_is_given_another_log_gets_another_hash(tmp_path: Path) -> None:
    one, other = _replay(tmp_path / "one", "0,70,0.5\n"), _replay(tmp_path / "other", "1,70,0.5\n")
    assert one.hash != other.hash
    assert one.with_changes(world__log=other.world.log).hash == other.hash


def test_a_replay_of_a_log_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"log .*log\.csv cannot be read"):
        load_scenario(put(tmp_path, REPLAY))
