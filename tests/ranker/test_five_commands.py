"""The page's five commands, typed as they stand, take a newcomer from nothing to a served policy's first answer."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "ranker.md"


def _commands() -> list[str]:
    """The first console block of the page, without prompts."""
    block = re.search(r"```console\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert block is not None
    return [line.removeprefix("$ ") for line in block[1].splitlines()]


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_five_commands_lead_from_training_to_an_answer(tmp_path: Path) -> None:
    commands = _commands()
    assert len(commands) == 5
    script = "\n".join(["set -e", *commands]).replace("8080", str(_free_port()))
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with subprocess.Popen(
        ["bash", "-c", script], cwd=tmp_path, env={**os.environ, "PATH": path}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    ) as shell:  # fmt: skip
        try:
            assert shell.stdout is not None
            told = ""
            for line in shell.stdout:  # the server holds the pipe open after the shell has ended
                told += line
                if "the books" in line:
                    break
            assert shell.wait(60) == 0, told
            answer, _ = json.JSONDecoder().raw_decode(told[told.index('{"id"') :])
            assert answer["policy"].startswith("first@") and answer["slots"]
            assert "the books add up" in told and "2 holds, 2 open" in told
        finally:
            os.killpg(shell.pid, signal.SIGKILL)
