"""``tribid profile``: export, erase and check, on a folder, in Redis, and of a running server."""

import asyncio
import json
import threading
import time

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.responses import Response
from typer.testing import CliRunner

from tests.ranker.profile.house import contents, event, in_store, settings
from tribid.cli.profile import profile_app
from tribid.ranker.profile.journaled import JournaledProfiles
from tribid.ranker.profile.redis_store import RedisProfiles
from tribid.ranker.profile.router import profile_routes

AWKWARD = [".", "..", "a/../b", "bob\n", "a\nb", "-x", "?q", "a.b"]
MINE = [("view", 5), ("cart", 6), ("order", 7)]


def call(*given, **told):
    result = CliRunner().invoke(profile_app, [str(one) for one in given], **told)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


async def _fill(store):
    for user in ("ann", "bob"):
        await store.take([event(kind, user, item=item) for kind, item in MINE])


def test_export_shows_all_that_a_folder_holds_of_a_user(tmp_path):
    folder = tmp_path / "store"
    in_store(folder, _fill)
    shown = call("export", "ann", "--store", folder)
    told = json.loads(shown.output)
    assert shown.exit_code == 0 and told["profile"]["orders"] and len(told["events"]) == 3
    written = call("export", "ann", "--store", folder, "--output", tmp_path / "ann.json")
    assert written.exit_code == 0
    assert json.loads((tmp_path / "ann.json").read_text()) == told
    assert (tmp_path / "ann.json").stat().st_mode & 0o077 == 0
    nobody = call("export", "eve", "--store", folder)
    assert (nobody.exit_code, "nothing is known" in nobody.output) == (1, True)


def test_erase_asks_first_and_then_erases_from_every_file(tmp_path):
    in_store(tmp_path, _fill)
    assert call("erase", "ann", "--store", tmp_path, input="n\n").exit_code == 1
    assert b"ann" in b"".join(contents(tmp_path).values())
    done = call("erase", "ann", "--store", tmp_path, "--yes")
    assert (done.exit_code, "erased" in done.output) == (0, True)
    assert b"ann" not in b"".join(contents(tmp_path).values())
    assert call("erase", "ann", "--store", tmp_path, "--yes").exit_code == 1
    assert call("export", "bob", "--store", tmp_path).exit_code == 0


def test_check_counts_what_a_folder_holds(tmp_path):
    in_store(tmp_path, _fill)
    found = call("check", "--store", tmp_path)
    assert found.exit_code == 0, found.output
    assert "2 users, 6 events remembered" in found.output and "the profiles agree" in found.output


def test_check_leaves_with_2_where_a_folder_is_damaged(tmp_path):
    in_store(tmp_path, _fill)
    journal = tmp_path / "journal-00000001.log"
    content = bytearray(journal.read_bytes())
    content[20] ^= 255
    journal.write_bytes(content)
    found = call("check", "--store", tmp_path)
    assert found.exit_code == 2 and "damaged at byte 0" in " ".join(found.output.split())


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["export", "ann"], "either --store or --server"),
        (["export", "ann", "--store", "x", "--server", "y"], "either --store or --server"),
        (["check"], "--store is missing"),
        (["check", "--store", "no-such-folder"], "holds no profiles"),
        (["export", "ann", "--store", "redis"], "TRIBID_REDIS"),
        (["export", "ann", "--store", "http://host"], "allowed is redis://"),
        (["export", "ann", "--store", "unix:///no/such/socket"], "Redis cannot be used"),
        (["export", "ann", "--server", "http://127.0.0.1:1"], "cannot be asked"),
        (["erase", "ann", "--server", "nonsense", "--yes"], "cannot be asked"),
    ],
)
def test_a_mistake_is_told_in_one_clear_line(given, told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TRIBID_REDIS", raising=False)
    result = call(*given)
    assert result.exit_code == 2 and told in result.output, result.output
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_a_server_has_open_is_told_so(tmp_path):
    async def use(store):
        await _fill(store)
        return await asyncio.to_thread(call, "export", "ann", "--store", tmp_path)

    result = in_store(tmp_path, use)
    assert result.exit_code == 2 and "open in another process" in " ".join(result.output.split())


def test_redis_is_named_by_its_url_or_by_the_environment(redis_server, monkeypatch):
    prefix = redis_server.prefix()

    async def fill():
        store = await RedisProfiles.open(redis_server.url, settings(), prefix=prefix)
        await _fill(store)
        await store.close()

    asyncio.run(fill())
    monkeypatch.setenv("TRIBID_REDIS", redis_server.url)
    assert "2 users" in call("check", "--store", "redis", "--prefix", prefix).output
    assert json.loads(call("export", "ann", "--store", redis_server.url, "--prefix", prefix).output)["user"] == "ann"
    assert call("erase", "ann", "--store", "redis", "--prefix", prefix, "-y").exit_code == 0
    assert "1 users" in call("check", "--store", "redis", "--prefix", prefix).output


def test_a_running_server_is_asked_with_its_token(tmp_path, monkeypatch):
    tokens, secret = [], tmp_path / "token"

    async def serve(ready):
        store = await JournaledProfiles.open(tmp_path / "store", settings())
        await _fill(store)
        await store.take([event("view", user, item=1) for user in AWKWARD])
        inner = Starlette(routes=profile_routes(store))

        async def app(scope, receive, send):
            tokens.append(dict(scope["headers"]).get(b"authorization"))
            known = tokens[-1] in (b"Bearer secret-of-the-server", b"Bearer secret-in-the-file")
            await (inner if known else Response(status_code=401))(scope, receive, send)

        server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical", lifespan="off"))
        task = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.01)
        ready["port"], ready["stop"] = server.servers[0].sockets[0].getsockname()[1], server
        await task
        await store.close()

    ready = {}
    thread = threading.Thread(target=lambda: asyncio.run(serve(ready)))
    thread.start()
    try:
        while "stop" not in ready and thread.is_alive():
            time.sleep(0.01)
        server = f"http://127.0.0.1:{ready['port']}/"
        monkeypatch.delenv("TRIBID_TOKEN", raising=False)
        for given in (["export", "ann"], ["erase", "ann", "--yes"]):
            refused = call(*given, "--server", server)
            assert refused.exit_code == 2 and all(way in refused.output for way in ("--token-file", "TRIBID_TOKEN"))
        monkeypatch.setenv("TRIBID_TOKEN", "secret-of-the-server")
        assert json.loads(call("export", "ann", "--server", server).output)["user"] == "ann"
        assert call("erase", "ann", "--server", server, "--yes").exit_code == 0
        assert call("erase", "ann", "--server", server, "--yes").exit_code == 1
        for user in AWKWARD:
            assert json.loads(call("export", "--server", server, "--", user).output)["user"] == user
            assert call("erase", "--server", server, "--yes", "--", user).exit_code == 0
        monkeypatch.setenv("TRIBID_TOKEN", "not-the-one-of-the-server")
        secret.write_text("secret-in-the-file\n")
        shown = call("export", "bob", "--server", server, "--token-file", secret)
        assert json.loads(shown.output)["user"] == "bob"
        assert call("erase", "bob", "--server", server, "--token-file", secret, "--yes").exit_code == 0
    finally:
        ready["stop"].should_exit = True
        thread.join()
    assert set(tokens) == {None, b"Bearer secret-of-the-server", b"Bearer secret-in-the-file"}
