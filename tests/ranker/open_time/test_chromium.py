"""Mails and pictures in a real browser: hostile text breaks out of neither, and runs nothing."""

import asyncio
import io
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from tests.ranker.open_time.house import KEY, LIFE_MS, START_MS, a_stock, open_time
from tribid.ranker.open_time.mail import MailText, example_mail
from tribid.ranker.open_time.text import clean
from tribid.ranker.open_time.tokens import Signer
from tribid.ranker.stock import LiveStock

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on the PATH: apt-get install chromium")

BACKGROUND = (0xF2, 0xF3, 0xF5)
OWNED = "<script>document.title='owned'</script>"
BREAKS = (
    f"</title>{OWNED}</td></tr></table></body>{OWNED}\"'>"
    "<img src=http://127.0.0.1:{port}/leak onerror=\"document.title='owned'\">"
    "<svg onload=\"document.title='owned'\"><iframe srcdoc=x></iframe><style>*{display:none}</style>\u202e\u2066<!--"
)


class Served(NamedTuple):
    """Slots on a port, their stock, and the paths that were asked for."""

    port: int
    stock: LiveStock
    asked: list[str]


@pytest.fixture
def served() -> Iterator[Served]:
    uvicorn = pytest.importorskip("uvicorn", reason="pip install 'tribid[serve]'")
    from starlette.applications import Starlette

    from tribid.ranker.open_time.routes import open_time_routes

    titles = ["<b onclick=x>Lamp</b>" * 9, "\u202eevil" * 40, "a" + "\u0301" * 900, "W" * 900, "\x00\n<script>", "Lamp"]
    stock = a_stock(6)
    for number, title in enumerate(titles):
        stock.update(number, title=title)
    part, asked = open_time(stock), list[str]()
    slots = Starlette(routes=open_time_routes(part))

    async def app(scope, receive, send):  # type: ignore[no-untyped-def]
        asked.append(scope["path"])
        await slots(scope, receive, send)

    door = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
    serving = threading.Thread(target=server.run, kwargs={"sockets": [door]}, daemon=True)
    serving.start()
    yield Served(door.getsockname()[1], stock, asked)
    server.should_exit = True
    serving.join(60)
    door.close()
    asyncio.run(part.close())


def chromium(folder: Path, *given: str) -> bytes:
    """What a headless browser with an empty profile prints."""
    assert CHROMIUM is not None
    fixed = [
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars", "--no-first-run",
        "--disable-background-networking", "--force-device-scale-factor=1", "--force-color-profile=srgb",
        f"--user-data-dir={folder}/profile",
    ]  # fmt: skip
    done = subprocess.run([CHROMIUM, *fixed, *given], capture_output=True, timeout=150, check=False, cwd=folder)
    assert done.returncode == 0, done.stderr[-2_000:].decode(errors="replace")
    return done.stdout


def screenshot(folder: Path, page: Path, width: int, height: int) -> np.ndarray:
    chromium(folder, f"--window-size={width},{height}", f"--screenshot={folder}/shot.png", page.as_uri())
    return np.asarray(Image.open(folder / "shot.png").convert("RGB"))


class Elements(HTMLParser):
    """The elements of a page that a browser has read, and its title."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, tuple[str, ...]]] = []
        self.title, self._in_title = "", False
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, tuple(sorted(name for name, _ in attrs))))
        self._in_title = tag == "title"

    def handle_data(self, data: str) -> None:
        if self._in_title:
            self.title += data

    def handle_endtag(self, tag: str) -> None:
        self._in_title = False


def a_mail(served: Served, text: MailText) -> str:
    given = {"user": "42", "message": "m1", "now_ms": START_MS, "life_ms": LIFE_MS, "slots": 4}
    server = f"http://127.0.0.1:{served.port}"
    return example_mail(Signer([KEY]), server=server, unsubscribe=f"{server}/leave?a=1&b=2", text=text, **given)  # type: ignore[arg-type]


def test_a_hostile_mail_runs_nothing_loads_its_slots_alone_and_keeps_its_elements(
    served: Served, tmp_path: Path
) -> None:
    hostile = BREAKS.replace("{port}", str(served.port))
    told = MailText(subject=hostile, greeting=hostile, about=hostile, alt=hostile, footer=hostile)
    (tmp_path / "hostile.html").write_text(a_mail(served, told), encoding="utf-8")
    (tmp_path / "plain.html").write_text(a_mail(served, MailText(about="Lamp")), encoding="utf-8")
    seen = {}
    for name in ("hostile", "plain"):
        served.asked.clear()
        seen[name] = Elements(chromium(tmp_path, "--dump-dom", (tmp_path / f"{name}.html").as_uri()).decode())
        slots = [path for path in served.asked if path != "/favicon.ico"]
        assert len(slots) == 4 and all(path.startswith("/v1/slot/") and path.endswith(".png") for path in slots)
    assert seen["hostile"].tags == seen["plain"].tags
    assert not {"script", "iframe", "svg", "h1"} & {tag for tag, _ in seen["hostile"].tags}
    assert seen["hostile"].title == clean(hostile) and seen["hostile"].title != "owned"


def test_the_check_would_see_a_script_that_runs(tmp_path: Path) -> None:
    page = tmp_path / "owned.html"
    page.write_text(f"<title>mine</title><p>{OWNED}</p>")
    seen = Elements(chromium(tmp_path, "--dump-dom", page.as_uri()).decode())
    assert seen.title == "owned" and ("script", ()) in seen.tags


def test_a_mail_full_of_hostile_text_draws_nothing_outside_its_600_pixels(served: Served, tmp_path: Path) -> None:
    wide = "W" * 390
    page = tmp_path / "mail.html"
    page.write_text(
        a_mail(served, MailText(subject=wide, greeting="\u202e" + wide, about="a" + "\u0301" * 300, footer=wide)),
        encoding="utf-8",
    )
    shot = screenshot(tmp_path, page, 1_000, 1_500)
    assert (shot[:, :200] == BACKGROUND).all() and (shot[:, 800:] == BACKGROUND).all()
    assert not (shot[:, 200:800] == BACKGROUND).all()


def test_hostile_pictures_are_drawn_in_the_browser_as_they_were_made(served: Served, tmp_path: Path) -> None:
    import httpx

    from tests.ranker.open_time.house import a_slot
    from tribid.ranker.open_time.card import HEIGHT, WIDTH
    from tribid.ranker.open_time.mail import slot_links

    links = [slot_links(Signer([KEY]), f"http://127.0.0.1:{served.port}", a_slot(number)) for number in range(6)]
    page = tmp_path / "cards.html"
    page.write_text(
        "<body style='margin:0;background:#f2f3f5'>"
        + "".join(
            f"<img style='position:absolute;top:0;left:{number * (WIDTH + 20)}px' src='{link.picture}'>"
            for number, link in enumerate(links)
        )
    )
    shot = screenshot(tmp_path, page, 6 * (WIDTH + 20), 600)
    for number, link in enumerate(links):
        picture = np.asarray(Image.open(io.BytesIO(httpx.get(link.picture).content)).convert("RGB"))
        left = number * (WIDTH + 20)
        assert (shot[:HEIGHT, left : left + WIDTH] == picture).all()
        assert (shot[:, left + WIDTH : left + WIDTH + 20] == BACKGROUND).all()
    assert (shot[HEIGHT:] == BACKGROUND).all()
