"""The documentation's examples do what they say, typed into a shell as they stand there."""

import html
import os
import re
import shutil
import subprocess
from typing import Any

import httpx
import pytest

TOKEN = "a-very-secret-token"


def _examples(address: str, **headers: str) -> dict[str, str]:
    page = httpx.get(f"{address}/docs", headers={"authorization": f"Bearer {TOKEN}", **headers}).text
    found = re.findall(r"<h2><b>(\w+)</b> <code>(.*?)</code></h2>.*?<pre>(.*?)</pre>", page, flags=re.S)
    return {f"{method} {html.unescape(path)}": html.unescape(example) for method, path, example in found}


@pytest.mark.parametrize("token", [None, TOKEN])
def test_every_example_is_answered_as_printed(server: Any, token: str | None) -> None:
    if shutil.which("curl") is None or shutil.which("bash") is None:
        pytest.skip("needs curl and bash")
    with server(token=token) as running:
        examples = _examples(running.address)
        lines = {name: example for name, example in examples.items() if not example.startswith("#")}
        assert "127.0.0.1:8080" not in "".join(examples.values())
        assert {"POST /v1/rank", "POST /v1/events", "POST /openrtb2/auction", "GET /readyz"} <= set(lines)
        order = sorted(lines, key=lambda name: (name != "POST /v1/policies/{name}:activate", name))
        for name in order:
            found = subprocess.run(
                ["bash", "-c", re.sub(r"\bcurl ", "curl -sf ", lines[name])],
                env={"PATH": os.environ["PATH"], "TRIBID_TOKEN": TOKEN},
                capture_output=True,
                text=True,
                check=False,
                timeout=60,
            )
            assert found.returncode == 0, (name, lines[name], found.stderr)
            if name == "POST /v1/events":
                assert '"status":"accepted"' in found.stdout


def test_the_address_is_the_readers_own_and_cannot_carry_anything_else(server: Any) -> None:
    with server() as running:
        assert (
            "curl http://bidder.example:9/v1/policies" in _examples(running.address, host="bidder.example:9").values()
        )
        for hostile in ("<script>alert(1)</script>", "x;rm -rf ~", "$(id)", "a'b", "a b"):
            examples = _examples(running.address, host=hostile)
            assert f"curl {running.address}/v1/policies" in examples.values()
            assert hostile not in "".join(examples.values())
