"""What the documents say is true: their code runs, their commands parse, and their tables are those of the code."""

import inspect
import re
import shlex
import types
import typing
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin

import gymnasium
import pytest
import typer.main
from gymnasium.spaces import Discrete
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from tribid.agents.algorithms import ALGORITHMS
from tribid.agents.channel_split.features import FEATURE_NAMES
from tribid.agents.channel_split.split_env import ChannelSplit
from tribid.agents.offline.auctionnet_state import STATE16_FIELDS
from tribid.agents.offline.columns import COLUMNS
from tribid.agents.policy_card import PolicyCard
from tribid.agents.registry import BIDDERS
from tribid.auctions import AUCTIONS, INDICES, STRATEGIES
from tribid.cli import app
from tribid.envs import actions, feed_auction_v0, logs, observation, scenario, stream, triggers, worlds
from tribid.envs.action import to_multiplier
from tribid.envs.attribution import config as attribution
from tribid.envs.attribution.credit import METHODS
from tribid.envs.channels import config as channels
from tribid.envs.journey import config as journey
from tribid.envs.reward import REWARDS
from tribid.envs.scenario import SCENARIO_FOLDER, load_scenario
from tribid.envs.search import config as search
from tribid.envs.sequential import config as sequential
from tribid.envs.sequential.consumers import make_world
from tribid.envs.sequential.journey_env import ConsumerJourney, observation_names
from tribid.evaluation.entries import FITTED
from tribid.evaluation.run import judge
from tribid.evaluation.welfare import METRICS
from tribid.ranker import Request
from tribid.ranker.consumers import config as consumers
from tribid.ranker.decision_log import COLUMNS as LOGGED
from tribid.ranker.open_time.open_time import OUTCOMES
from tribid.ranker.openrtb.config import load_config
from tribid.ranker.profile.messages import Kind
from tribid.ranker.service.operations import ACTION_OPERATIONS, CONSUMER_OPERATIONS, SLOT_OPERATIONS

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES = {path.name: path.read_text(encoding="utf-8") for path in DOCUMENTS}

MODELS: tuple[type[BaseModel], ...] = (
    scenario.Scenario, worlds.FeedWorld, worlds.Traffic, worlds.Users, worlds.Rates, worlds.Prediction, worlds.Retrieval,
    worlds.ShopWorld, worlds.Catalogue, worlds.Needs, worlds.Behaviour, worlds.Visits, worlds.Creatives, worlds.Orders,
    worlds.AuctionNetWorld, worlds.ReplayWorld, scenario.Rules, scenario.Ocpc, scenario.Advertiser,
    scenario.GeneratedAdvertisers, scenario.Reward, attribution.Attribution, journey.JourneyWorld, journey.Scene,
    journey.StageEffects, journey.Fatigue, journey.Complements, journey.Organic, sequential.Contents, channels.Channel,
    channels.Caps, triggers.Trigger, actions.Action, actions.Eligibility, search.Search, search.FactorWeights,
    search.Prices, search.Mobile, search.Merge, search.Shoppers,
)  # fmt: skip
PARTS = (scenario, worlds, attribution, journey, sequential, channels, triggers, actions, search)
"""The modules whose models a scenario is made of."""

CONSUMERS_CONFIG: dict[str, FieldInfo] = {
    **{name: field for name, field in consumers.ConsumersConfig.model_fields.items() if name != "actions"},
    **{f"slots.{name}": field for name, field in consumers.SlotsConfig.model_fields.items()},
    **{f"actions.{name}": field for name, field in consumers.ActionsConfig.model_fields.items()},
}
"""The fields of the consumers' YAML file; those of a part under its name."""


class Block(NamedTuple):
    """A fenced block: its document, the line of its fence, the words after it, and its text."""

    page: str
    line: int
    words: tuple[str, ...]
    text: str

    @property
    def name(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(language: str) -> list[Block]:
    found = []
    for page, text in PAGES.items():
        for match in re.finditer(r"^```(\w[^\n]*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
            words = tuple(match[1].split())
            if words[0] == language:
                found.append(Block(page, text.count("\n", 0, match.start()) + 1, words, match[2]))
    return found


def parameters(language: str) -> list[Any]:
    """The blocks as parameters; one that says ``slow`` is run by make test-slow."""
    return [
        pytest.param(block, id=block.name, marks=[pytest.mark.slow] if "slow" in block.words else [])
        for block in blocks(language)
    ]


def table(page: str, marker: str) -> list[tuple[str, ...]]:
    """The cells of the table under ``<!-- marker -->``, its heading left out, code marks taken off."""
    start = PAGES[page].index(f"<!-- {marker} -->")
    lines = PAGES[page][start:].splitlines()[1:]
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        cells = re.split(r"(?<!\\)\|", line.strip().strip("|"))
        rows.append(tuple(cell.strip().replace("\\|", "|") for cell in cells))
    assert len(rows) > 2, f"{page}: no table under the marker {marker!r}"
    return rows[2:]


def column(page: str, marker: str, index: int = 0) -> list[str]:
    return [row[index].strip("`") for row in table(page, marker)]


def as_markdown(rows: typing.Iterable[typing.Iterable[str]]) -> str:
    """Rows to paste into a document where it lags behind the code."""
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)


@pytest.mark.parametrize("block", parameters("python"))
def test_python_of_the_documents_runs(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code = compile("\n" * block.line + block.text, block.page, "exec")
    exec(code, {"__name__": "__main__"})


@pytest.mark.parametrize("block", parameters("yaml"))
def test_yaml_of_the_documents_loads(block: Block, tmp_path: Path) -> None:
    rows = "click,market_price_micros,pctr\n0,500,0.01\n1,900,0.02\n"
    (tmp_path / "campaign.csv").write_text(rows, encoding="utf-8")
    file = tmp_path / "mine.yaml"
    file.write_text(block.text, encoding="utf-8")
    if "currencies:" in block.text:
        load_config(file, ["adv_00", "adv_01"])
    elif "profiles:" in block.text:
        consumers.load_config(file)
    else:
        load_scenario(file)


def commands() -> Iterator[tuple[str, list[str]]]:
    """Every command of the console blocks: where it stands, and its words."""
    for block in blocks("console"):
        for line in block.text.replace("\\\n", " ").splitlines():
            if line.startswith("$ "):
                yield f"{block.name} {line}", shlex.split(line[2:])


@pytest.mark.parametrize("words", [pytest.param(words, id=name) for name, words in commands()])
def test_commands_of_the_documents_parse(words: list[str]) -> None:
    program, *rest = words
    if program == "make":
        assert f"\n{rest[0]}:" in (ROOT / "Makefile").read_text(encoding="utf-8")
        return
    if program != "tribid":
        assert program in ("pip", "tensorboard", "python", "curl", "openssl")
        return
    for sign in (">", "<", "|", "&"):
        rest = rest[: rest.index(sign)] if sign in rest else rest
    command: Any = typer.main.get_command(app)
    context = command.make_context("tribid", rest[:1], resilient_parsing=True)
    while hasattr(command, "commands"):
        assert rest[0] in command.commands, f"tribid has no command {rest[0]}"
        command, rest = command.commands[rest[0]], rest[1:]
    command.make_context(command.name, rest, parent=context)


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_headings_that_exist(page: str) -> None:
    for target, anchor in re.findall(r"\]\(([^)\s:#]*)#([^)\s]+)\)", PAGES[page]):
        headings = re.findall(r"^#+ (.+)$", PAGES[Path(target).name if target else page], re.MULTILINE)
        anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
        assert anchor in anchors, f"{page}: no heading #{anchor} in {target or page}"


def test_the_observation_table_is_that_of_the_code() -> None:
    fields = observation.fields()
    wanted = [(str(i), f"`{f.name}`", f"{f.low:g} to {f.high:g}", f.meaning) for i, f in enumerate(fields)]
    assert table("environment.md", "table: observation") == wanted, f"paste this:\n{as_markdown(wanted)}"


def test_the_action_table_is_that_of_the_code() -> None:
    most = scenario.Rules().max_multiplier
    for action, multiplier in table("environment.md", "table: action"):
        assert float(multiplier) == pytest.approx(float(to_multiplier(float(action), most)), rel=1e-3, abs=0)
    assert f"At the default M = {most:g}" in PAGES["environment.md"]


def test_the_infos_table_is_that_of_the_environment() -> None:
    env = feed_auction_v0.parallel_env(scenario="tiny")
    _, at_reset = env.reset(seed=0)
    *_, after_step = env.step({agent: env.action_space(agent).sample() for agent in env.agents})
    agent = env.possible_agents[0]
    wanted = [(f"`{key}`", "reset, step" if key in at_reset[agent] else "step") for key in after_step[agent]]
    assert [row[:2] for row in table("environment.md", "table: infos")] == wanted


SMALL_WORLDS: dict[str, tuple[type[gymnasium.Env[Any, Any]], tuple[str, ...]]] = {
    "ConsumerJourney": (ConsumerJourney, observation_names(make_world(0))),
    "ChannelSplit": (ChannelSplit, FEATURE_NAMES),
}
"""The journey's environments, and what their observations hold by index."""


@pytest.mark.parametrize("name", SMALL_WORLDS)
def test_the_arguments_of_the_small_worlds_are_those_of_the_code(name: str) -> None:
    taken = list(inspect.signature(SMALL_WORLDS[name][0]).parameters.values())
    wanted = [(f"`{one.name}`", f"`{one.default}`") for one in taken]
    found = table("environment.md", f"arguments: {name}")
    assert [row[:2] for row in found] == wanted and all(row[2] for row in found)


@pytest.mark.parametrize("name", SMALL_WORLDS)
def test_the_observations_of_the_small_worlds_are_those_of_the_code(name: str) -> None:
    wanted = [(str(index), f"`{field}`") for index, field in enumerate(SMALL_WORLDS[name][1])]
    found = table("environment.md", f"observation: {name}")
    assert [row[:2] for row in found] == wanted and all(row[2] for row in found)
    env = gymnasium.make(f"tribid:tribid/{name}-v0")
    assert isinstance(env.unwrapped, SMALL_WORLDS[name][0]) and env.observation_space.shape == (len(wanted),)


@pytest.mark.parametrize("name", SMALL_WORLDS)
def test_the_spaces_and_infos_of_the_small_worlds_are_those_of_the_code(name: str) -> None:
    env = gymnasium.make(f"tribid:tribid/{name}-v0")
    _, at_reset = env.reset(seed=0)
    *_, after_step = env.step(env.action_space.sample())
    moments = {"reset": at_reset, "step": after_step}
    told = {row[0].strip("`"): row[1] for row in table("environment.md", f"infos: {name}")}
    keys = dict.fromkeys([*at_reset, *after_step])
    assert told == {key: ", ".join(when for when, info in moments.items() if key in info) for key in keys}
    part = PAGES["environment.md"].split(f"### {name}\n")[1].split("\n##")[0]
    for space in (env.action_space, env.observation_space):
        written = f"Discrete({space.n})" if isinstance(space, Discrete) else written_box(space)
        assert f"`{written}`" in part


def written_box(space: Any) -> str:
    return f"Box({space.low.min():g}, {space.high.max():g}, {space.shape}, {space.dtype})"


def faults_of_tables(text: str) -> list[str]:
    """Rows of Markdown's tables that have more or fewer cells than their header, and tables without a line under it.

    As on the page, a pipe that is not escaped ends a cell within code, too; fenced blocks hold no tables.
    """
    shown = re.sub(r"^(```.*?^```)$", lambda block: "\n" * block[0].count("\n"), text, flags=re.MULTILINE | re.DOTALL)
    lines, faults, cells = shown.splitlines(), [], 0
    for number, line in enumerate(lines, 1):
        if not line.startswith("|"):
            cells = 0
            continue
        count = len(re.findall(r"(?<!\\)\|", line.rstrip())) - 1
        if cells == 0 and not re.fullmatch(r"\|( *:?-+:? *\|)+ *", lines[number] if number < len(lines) else ""):
            faults.append(f"{number}: no line of dashes under the header")
        cells = cells or count
        if count != cells or not re.search(r"(?<!\\)\|\s*$", line):
            faults.append(f"{number}: {count} cells under a header of {cells}")
    return faults


def test_faults_of_tables_are_found() -> None:
    good = "| a | b |\n|---|---|\n| 1 | `x \\| y` |\n\n```\n| no table |\n```\n| c |\n|:-:|\n| 2 |\n"
    assert faults_of_tables(good) == []
    assert faults_of_tables(good.replace("\\|", "|")) == ["3: 3 cells under a header of 2"]
    assert faults_of_tables(good.replace("| 2 |", "| 2 | 3 |")) == ["10: 2 cells under a header of 1"]
    assert faults_of_tables(good.replace("| 2 |", "| 2")) == ["10: 0 cells under a header of 1"]
    assert faults_of_tables(good.replace("|---|---|\n", "")) == ["1: no line of dashes under the header"]


@pytest.mark.parametrize("page", PAGES)
def test_every_row_of_a_table_has_as_many_cells_as_its_header(page: str) -> None:
    assert faults_of_tables(PAGES[page]) == []


@pytest.mark.parametrize(
    ("page", "marker", "names"),
    [
        ("environment.md", "table: rewards", list(REWARDS)),
        ("environment.md", "table: feedback", list(get_args(scenario.Rules.model_fields["feedback"].annotation))),
        ("auctions.md", "table: strategies", list(STRATEGIES)),
        ("auctions.md", "table: indices", list(INDICES)),
        ("evaluation.md", "table: bidders", [*BIDDERS, *FITTED]),
        ("policies.md", "table: card", list(PolicyCard.model_fields)),
        ("ranker.md", "table: request", list(Request.__struct_fields__)),
        ("logs.md", "table: formats", [name for name in logs.FORMATS if name != "auto"]),
        ("journey.md", "table: attribution", list(METHODS)),
        ("consumers.md", "table: consumers config", list(CONSUMERS_CONFIG)),
    ],
)
def test_tables_of_names_hold_every_name(page: str, marker: str, names: list[str]) -> None:
    assert sorted(column(page, marker)) == sorted(names)


def test_the_defaults_of_the_consumers_config_are_those_of_the_code() -> None:
    for name, default, _ in table("consumers.md", "table: consumers config"):
        assert default.strip("`") == default_of(CONSUMERS_CONFIG[name.strip("`")]).strip("`"), name


def test_the_consumers_addresses_are_those_of_the_service() -> None:
    operations = (*CONSUMER_OPERATIONS, *ACTION_OPERATIONS, *SLOT_OPERATIONS)
    wanted = {f"{one.method.upper()} {one.path}" for one in operations} | {"POST /v1/events"}
    assert set(column("consumers.md", "table: addresses")) == wanted


def test_every_kind_of_consumer_event_is_described() -> None:
    told = [name for row in column("consumers.md", "table: events") for name in row.replace("`", "").split(", ")]
    assert sorted(told) == sorted(get_args(Kind))


def test_every_outcome_of_a_mails_slots_is_described() -> None:
    told = [name for row in column("consumers.md", "table: mail slots") for name in row.replace("`", "").split(", ")]
    assert sorted(told) == sorted(outcome.replace(".", "_").replace(" ", "_") for outcome in OUTCOMES)


def test_the_scenes_table_is_that_of_the_code() -> None:
    wanted = [
        (
            f"`{scene.name}`", scene.moment, scene.channel, f"{scene.weight:g}",
            ", ".join(f"{effect:g}" for effect in scene.slot_effects) if scene.slot_effects else "the rules'",
            scene.candidates, scene.needs, "" if scene.needs in ("nothing", "search") else f"{scene.within_hours:g}",
        )
        for scene in journey.SCENES
    ]  # fmt: skip
    assert table("journey.md", "table: scenes") == wanted, f"paste this:\n{as_markdown(wanted)}"


def test_every_scenario_that_is_shipped_is_listed() -> None:
    listed = {row[0] for row in re.findall(r"^\| `(\w+)` \|([^|]*)\|$", PAGES["scenarios.md"], re.MULTILINE)}
    assert {path.stem for path in SCENARIO_FOLDER.glob("*.yaml")} <= listed


def test_the_decision_logs_table_is_that_of_the_code() -> None:
    wanted = [(f"`{c.name}`", f"`{c.type}`{' or null' if c.optional else ''}", c.unit, c.meaning) for c in LOGGED]
    assert table("ranker.md", "table: decision log") == wanted


def test_the_tables_of_recorded_days_are_those_of_the_code() -> None:
    told = [(row[0].strip("`"), row[1].replace("`", "")) for row in table("bidders.md", "table: trajectories")]
    assert told == [(name, what.replace("`", "")) for name, what in COLUMNS.items()]
    assert [(row[0].strip("`"), row[1]) for row in table("bidders.md", "table: state16")] == list(STATE16_FIELDS)


def test_every_algorithm_is_described() -> None:
    for name in ALGORITHMS:
        assert f"`{name}`" in PAGES["bidders.md"], name


def test_every_auction_has_its_row() -> None:
    for name in AUCTIONS:
        assert f"\n| `{name}` |" in PAGES["auctions.md"]


def test_the_log_columns_are_those_of_the_reader() -> None:
    rows = table("logs.md", "table: log columns")
    told = {row[0].strip("`"): row[1].startswith("yes") for row in rows}
    assert told == dict.fromkeys(logs.REQUIRED, True) | dict.fromkeys(logs.OPTIONAL, False)


def test_the_metrics_table_is_that_of_the_code() -> None:
    wanted = [(m.side, f"`{m.name}`", m.unit, m.better or "", m.meaning) for m in METRICS]
    assert table("evaluation.md", "table: metrics") == wanted, f"paste this:\n{as_markdown(wanted)}"


def test_the_results_table_names_every_key() -> None:
    results = judge(load_scenario("tiny"), ["truthful"], rivals=["truthful"], eval_seeds=[1_000_000, 1_000_001])
    assert column("evaluation.md", "table: results") == list(results)
    contestant = results["contestants"]["truthful"]
    run = contestant["runs"][0]
    for key in (*contestant, *contestant["curves"], *run, *run["advertisers"]["adv_00"]):
        assert f"`{key}`" in PAGES["evaluation.md"], f"evaluation.md does not name {key}"


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_field_of_a_scenario_is_documented_with_its_default(model: type[BaseModel]) -> None:
    wanted = [row_of(name, field) for name, field in model.model_fields.items()]
    found = table("scenarios.md", f"fields: {model.__name__}")
    paste = as_markdown([*row, "..."] for row in wanted)
    assert [row[:3] for row in found] == wanted, f"paste this, with a meaning:\n{paste}"
    assert all(row[3] for row in found), "a field has no meaning"


def test_every_column_of_the_log_of_a_day_is_documented() -> None:
    found = table("environment.md", "columns: shown")
    assert [(row[0], row[1]) for row in found] == [(f"`{name}`", kind) for name, kind in stream.COLUMNS.items()]


def test_every_part_of_a_scenario_is_documented() -> None:
    parts = {
        value for module in PARTS for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, BaseModel) and value.model_fields
        and value.__module__ == module.__name__
    }  # fmt: skip
    assert parts == set(MODELS)


def row_of(name: str, field: FieldInfo) -> tuple[str, str, str]:
    """A field's name, default and what is allowed, as scenarios.md writes them."""
    return f"`{name}`", default_of(field), allowed_of(field.annotation, field.metadata)


def default_of(field: FieldInfo) -> str:
    default = field.get_default(call_default_factory=True)
    if default is PydanticUndefined:
        return "required"
    if isinstance(default, BaseModel) or (isinstance(default, tuple) and default and isinstance(default[0], BaseModel)):
        return "see below"
    if default is None:
        return "left out"
    if default in ((), "", {}):
        return "none"
    return f"`{text_of(default)}`"


def text_of(value: Any) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(text_of(item) for item in value) + "]"
    if isinstance(value, float):
        return f"{value:.10g}"
    return str(value).lower() if isinstance(value, bool) else str(value)


def allowed_of(annotation: Any, metadata: typing.Sequence[Any] = ()) -> str:
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return allowed_of(inner[0], [rule for part in inner[1:] for rule in getattr(part, "metadata", [part])])
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in inner)
    if origin is tuple:
        size = "" if inner[-1] is Ellipsis else f" of {len(inner)}"
        return f"a list{size}, each {allowed_of(inner[0])}"
    if origin is dict:
        return f"a mapping from {allowed_of(inner[0])} to {allowed_of(inner[1])}"
    if origin in (typing.Union, types.UnionType):
        kinds = [kind for kind in inner if kind is not type(None)]
        return " or ".join(allowed_of(kind, metadata) for kind in kinds)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return f"[{annotation.__name__}](#{annotation.__name__.lower()})"
    if annotation is bool:
        return "`true`, `false`"
    if annotation is str:
        patterns = [rule.pattern for rule in metadata if getattr(rule, "pattern", None)]
        return f"text like `{patterns[0]}`" if patterns else "text"
    kind = {int: "whole", float: "number", datetime: "time"}[annotation]
    return " ".join([kind, *limits_of(metadata)])


def limits_of(metadata: typing.Sequence[Any]) -> Iterator[str]:
    for sign, word in (("ge", "from"), ("gt", "above"), ("le", "to"), ("lt", "below")):
        for rule in metadata:
            if (value := getattr(rule, sign, None)) is not None:
                power = isinstance(value, int) and value >= 2**32
                yield f"{word} 2^{value.bit_length() - 1}" if power else f"{word} {value:.10g}"
