"""Nothing that is read from a file is ever run: no pickles, no code, no import paths in data, anywhere in the project.

The first half reads the sources, the second watches a process that serves. What is allowed in spite of the rule stands in
``LISTED``, each with its reason.
"""

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tribid.agents.bidder import BidderSpace
from tribid.agents.policy_file import save_lineup
from tribid.agents.testing import random_policy
from tribid.envs.scenario import load_scenario

ROOT = Path(__file__).resolve().parents[1]
SOURCES = [*sorted((ROOT / "tribid").rglob("*.py")), *sorted((ROOT / "scripts").rglob("*.py"))]

RUN_CODE = frozenset(
    {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "runpy", "code", "codeop"}
)
"""Modules whose readers run what they read."""

BUILTINS = frozenset({"eval", "exec", "compile", "__import__"})
IMPORTERS = frozenset({"import_module", "exec_module", "load_module", "spec_from_file_location", "module_from_spec"})
READERS = {
    "torch": {"load", "jit.load", "hub.load", "package"}, "np": {"load", "fromregex"}, "numpy": {"load", "fromregex"},
    "yaml": {"unsafe_load", "full_load", "unsafe_load_all", "full_load_all", "load_all"},
    "onnx": {"load", "load_model", "load_external_data_for_model", "hub.load"}, "pd": {"read_pickle"},
    "pandas": {"read_pickle"}, "os": {"system", "popen", "execv", "execvp", "execve", "spawnv"},
    "PPO": {"load"}, "SAC": {"load"}, "TD3": {"load"}, "RecurrentPPO": {"load"}, "VecNormalize": {"load"},
}  # fmt: skip
"""Readers of libraries that run what they read, open what it names, or start a program."""

LISTED = {
    (
        "tribid/agents/own.py",
        "spec_from_file_location",
    ): "a bidder of the user's own, a Python file named on the command line",
    ("tribid/agents/own.py", "module_from_spec"): "the same file",
    ("tribid/agents/own.py", "exec_module"): "the same file; only `--own` of the judging commands reaches it",
    (
        "tribid/agents/algorithms.py",
        "import_module",
    ): "modules of the table ALGORITHMS in that file, by an algorithm's name",
    ("tribid/models/store.py", "import_module"): "modules of the table KINDS in that file, by a kind that a card names",
    ("tribid/models/fit/rates.py", "import_module"): "modules of the same table",
    ("tribid/benchmark/fresh.py", "import_module"): "a function of this project, measured in a process of its own",
}
"""What the scan finds and why it is allowed: no name in a file chooses what is imported or run."""

ONNX_IN = "tribid/agents/export/"
"""The only place that knows ONNX; nothing that serves imports it."""


def findings(tree: ast.AST) -> Iterator[str]:
    """What in a module could run what it reads; code in strings, as for a process of its own, is read as well."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.partition(".")[0] in RUN_CODE)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if module.partition(".")[0] in RUN_CODE:
                yield module
            dangerous = READERS.get(module, set())
            yield from (f"{module}.{alias.name}" for alias in node.names if alias.name in dangerous)
        elif isinstance(node, ast.Call):
            yield from _of_call(node)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and "import " in node.value:
            yield from _of_text(node.value)


def _of_call(node: ast.Call) -> Iterator[str]:
    name = dotted(node.func)
    owner, _, last = name.partition(".")
    if name in BUILTINS or name.removeprefix("builtins.") in BUILTINS - {"compile"}:
        yield name
    final = name.rpartition(".")[2]
    if final in IMPORTERS:
        yield final
    if last in READERS.get(owner, ()):
        yield name
    arguments = {argument.arg: argument.value for argument in node.keywords}
    for flag in ("allow_pickle", "shell", "trust_remote_code", "load_external_data"):
        if flag in arguments and ast.unparse(arguments[flag]) != "False":
            yield f"{flag}={ast.unparse(arguments[flag])}"
    if name == "yaml.load" and dotted(arguments.get("Loader")) != "_EachKeyOnce":
        yield name


def dotted(node: ast.expr | None) -> str:
    """``a.b.c`` of such an expression; ``?`` stands for what is no name."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else "?"


def _of_text(text: str) -> Iterator[str]:
    try:
        inner = ast.parse(text)
    except SyntaxError:
        return
    if any(isinstance(node, (ast.Import, ast.ImportFrom)) for node in ast.walk(inner)):
        yield from findings(inner)


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


@cache
def scanned() -> dict[tuple[str, str], str]:
    found = {}
    for path in SOURCES:
        place = path.relative_to(ROOT).as_posix()
        found |= {(place, what): place for what in findings(tree_of(path))}
    return found


def test_no_module_runs_what_it_reads_but_for_the_listed_places() -> None:
    assert len(SOURCES) > 200
    found = scanned()
    assert set(found) - set(LISTED) == set()


def test_every_listed_place_is_still_there() -> None:
    assert set(LISTED) - set(scanned()) == set()


@pytest.mark.parametrize(
    "code",
    [
        "import pickle", "import os, cloudpickle as c", "from pickle import loads", "from joblib import load",
        "import shelve", "import dill.source", "from marshal import loads", "eval(text)", "exec(text)",
        "builtins.eval(text)", "__import__(name)", "compile(text, 'x', 'exec')", "torch.load(path)",
        "torch.load(path, weights_only=True)", "torch.jit.load(path)", "from torch import load", "np.load(path)",
        "np.load(path, allow_pickle=True)", "numpy.load(path)", "anything(path, allow_pickle=yes)",
        "yaml.load(text)", "yaml.load(text, Loader=yaml.Loader)", "yaml.unsafe_load(text)", "yaml.full_load(text)",
        "onnx.load(path)", "onnx.load_model(path)", "onnx.load(path, load_external_data=True)",
        "importlib.import_module(name)", "import_module(name)", "spec.loader.exec_module(module)", "PPO.load(path)",
        "VecNormalize.load(path, venv)", "pd.read_pickle(path)", "os.system(text)",
        "subprocess.run(text, shell=True)", "model(path, trust_remote_code=True)",
        "run('''\nimport pickle\npickle.loads(data)\n''')",
    ],
)  # fmt: skip
def test_the_scan_finds(code: str) -> None:
    assert list(findings(ast.parse(code)))


@pytest.mark.parametrize(
    "code",
    [
        "json.loads(text)", "re.compile(pattern)", "network.eval()", "column.list.eval(rule)",
        "safetensors.numpy.load(data)", "yaml.safe_load(text)", "yaml.load(text, Loader=_EachKeyOnce)",
        "np.save(path, x)", "tl.load(place)", "shop.load()", "onnx.load_model_from_string(data)",
        "subprocess.run(['git', 'log'])", "'never pickle, never import anything'", "np.loadtxt(path)",
    ],
)  # fmt: skip
def test_the_scan_leaves_harmless_code_alone(code: str) -> None:
    assert not list(findings(ast.parse(code)))


@cache
def imports(path: Path) -> set[str]:
    """Every module that a file imports anywhere, in functions too."""
    found = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module or ""}
    return found


def test_only_the_export_knows_onnx() -> None:
    for path in SOURCES:
        place = path.relative_to(ROOT).as_posix()
        known = {name for name in imports(path) if name.partition(".")[0] in ("onnx", "onnxruntime", "onnxscript")}
        assert not known or place.startswith(ONNX_IN), (place, known)


def reached_from(start: str) -> set[str]:
    """Modules of the project that a package can reach by imports anywhere in its files, functions included."""
    modules = {}
    for path in SOURCES:
        parts = path.relative_to(ROOT).with_suffix("").parts
        modules[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    todo = {name for name in modules if name == start or name.startswith(f"{start}.")}
    reached: set[str] = set()
    while todo:
        name = todo.pop()
        reached.add(name)
        above = {name.rpartition(".")[0]}
        todo |= {given for given in imports(modules[name]) | above if given in modules and given not in reached}
    return reached


@pytest.mark.parametrize("start", ["tribid.ranker", "tribid.evaluation.platform.parts"])
def test_users_own_bidders_cannot_be_reached_from_what_serves(start: str) -> None:
    reached = reached_from(start)
    assert "tribid.agents.bidder" in reached or "tribid.models.store" in reached
    assert "tribid.agents.own" not in reached
    assert not {name for name in reached if name.startswith("tribid.agents.export")}


def test_the_command_that_serves_asks_for_no_bidder_of_the_users_own() -> None:
    given = imports(ROOT / "tribid" / "cli" / "serve.py")
    assert "tribid.ranker.service.server" in given
    assert not {name for name in given if name.startswith(("tribid.agents.own", "tribid.evaluation.contest"))}
    assert "tribid.agents.own" in reached_from("tribid.cli.judging"), "the walk would find it"


SERVE = """
import asyncio, importlib.util, json, sys

found, opened, watching = [], [], False
NEVER = {"exec", "compile", "import", "marshal.loads", "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn",
         "os.fork", "ctypes.dlopen", "ctypes.dlsym", "socket.connect", "code.__new__"}

def hear(event, arguments):
    if event == "pickle.find_class":
        found.append(f"{event} {arguments}")
    elif watching and event in NEVER:
        found.append(f"{event} {str(arguments)[:200]}")
    elif watching and event == "open" and not isinstance(arguments[0], int):  # a number: what is open already
        opened.append(str(arguments[0]))

sys.addaudithook(hear)
import pickle

def forbidden(real):
    def read(*given, **named):
        found.append("pickle was asked to read")
        return real(*given, **named)
    return read

pickle.loads, pickle.load = forbidden(pickle.loads), forbidden(pickle.load)

import tribid.ranker
from tribid.agents.policy_file import load_lineup
from tribid.envs.scenario import load_scenario
if importlib.util.find_spec("fastapi"):
    import tribid.cli.serve, tribid.evaluation.platform.parts, tribid.ranker.service.app, tribid.ranker.service.server

scenario, folder = load_scenario("tiny"), sys.argv[1]

async def answer():
    live = await tribid.ranker.LiveRanker.open(scenario, {"mine": folder})
    decision = await live.rank(tribid.ranker.Request(request=1, user=3, tick=0, day=0))
    await live.close()
    return len(decision.slots)

slots = asyncio.run(answer())  # compiles and imports what is needed
load_lineup(folder, scenario=scenario)
watching = True
load_lineup(folder, scenario=scenario)
watching = False
loaded = [name for name in sys.argv[2].split() if name in sys.modules]
before = len(found)
pickle.loads(b"cbuiltins\\nlen\\n.")  # what is watched for would be noticed
noticed = len(found) - before
print(json.dumps({"found": found[:before], "noticed": noticed, "loaded": loaded, "opened": opened, "slots": slots}))
"""

TRAINING_LIBRARIES = (
    "torch stable_baselines3 sb3_contrib torchrl onnx onnxruntime cloudpickle joblib dill tribid.agents.own "
    "tribid.agents.export tribid.evaluation.contest tribid.benchmark"
)


def test_a_process_that_serves_unpickles_nothing_and_loads_no_training_library(tmp_path: Path) -> None:
    """Kernels are not compiled here: numba keeps what it compiled as pickles of its own, in a folder that is ours to write.

    Python tells an audit hook of every class that any unpickler looks up, and of code, programs and files.
    """
    scenario = load_scenario("tiny")
    policies = tmp_path / "policies"
    save_lineup({"p": random_policy(BidderSpace.of(scenario))}, {"adv_00": "p"}, policies, scenario=scenario)
    done = subprocess.run(
        [sys.executable, "-c", SERVE, str(policies), TRAINING_LIBRARIES],
        capture_output=True, text=True, timeout=240, check=False, cwd=tmp_path,
        env=os.environ | {"NUMBA_DISABLE_JIT": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["found"] == []
    assert told["noticed"] >= 2, "the watch would not notice a pickle"
    assert told["loaded"] == []
    assert told["slots"] > 0
    assert {Path(path).parent for path in told["opened"]} == {policies}, "loading opens the policy's files and no other"
