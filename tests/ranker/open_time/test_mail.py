import re
import time
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

pytest.importorskip("jinja2", reason="pip install 'tribid[report]'")

from tests.ranker.open_time.house import KEY, LIFE_MS, START_MS, a_slot
from tribid.cli.mail import mail
from tribid.ranker.open_time.mail import MailText, example_mail, slot_links
from tribid.ranker.open_time.text import clean
from tribid.ranker.open_time.tokens import Signer

SERVER = "https://mail.shop.example"


def a_mail(text: MailText | None = None, **changed: Any) -> str:
    given = {
        "server": SERVER, "user": "42", "message": "m1", "now_ms": START_MS, "life_ms": LIFE_MS,
        "unsubscribe": "https://shop.example/leave", "slots": 3,
    }  # fmt: skip
    return example_mail(Signer([KEY]), text=text, **{**given, **changed})


class Parts(HTMLParser):
    """A page as its elements with their attributes' names, its addresses, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, tuple[str, ...]]] = []
        self.addresses: list[str] = []
        self.alts: list[str] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, tuple(name for name, _ in attrs)))
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "action", "background")]
        self.alts += [value or "" for name, value in attrs if name == "alt"]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_mail_holds_its_slots_and_nothing_from_elsewhere() -> None:
    parts = Parts(a_mail())
    links = [slot_links(Signer([KEY]), SERVER, a_slot(number)) for number in range(3)]
    assert parts.addresses == [
        *(part for link in links for part in (link.click, link.picture)),
        "https://shop.example/leave",
    ]
    tags = {tag for tag, _ in parts.elements}
    assert not tags & {"script", "link", "style", "iframe", "form", "input", "object", "video", "base"}
    assert "url(" not in a_mail() and "@import" not in a_mail() and 'width="600"' in a_mail()
    assert all(parts.alts) and len(parts.alts) == 3


def test_a_mail_tells_nobody_who_it_is_for() -> None:
    page = a_mail(user="customer-4711", message="message-0815")
    assert "4711" not in page and "0815" not in page


HOSTILE = (
    "<script>document.title='owned'</script>", "\"><img src=x onerror=\"document.title='owned'\">", "' onload='alert(1)",
    "</title><script>1</script>", "</td></tr></table><h1>x", "<!--", "]]>", "{{ 7 * 7 }}{% raw %}", "&lt;script&gt;",
    "\u202e\u2066<svg/onload=alert(1)>", "javascript:alert(1)", "<a href='https://evil.example'>win</a>", "\x00<b>",
    "<style>*{}</style>", "\ud800<i>",
)  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_what_a_mail_says_is_text_and_never_markup(text: str) -> None:
    hostile = Parts(a_mail(MailText(subject=text, greeting=text, about=text, alt=text, footer=text)))
    plain = Parts(a_mail(MailText(about="Lamp")))
    assert hostile.elements == plain.elements and hostile.addresses == plain.addresses
    assert hostile.text.count(clean(text)) >= 4 and hostile.alts == [clean(text)] * 3


@settings(max_examples=60, deadline=None)
@given(st.text(st.characters(), max_size=80))
def test_no_text_changes_a_mails_elements(text: str) -> None:
    hostile = Parts(a_mail(MailText(subject=text, greeting=text, about=f"x{text}", alt=text, footer=text)))
    assert hostile.elements == Parts(a_mail(MailText(about="x"))).elements


@pytest.mark.parametrize("name", ["server", "unsubscribe"])
@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", 'https://a.example/"onclick="x', "//evil.example", "data:text/html,x"]
)
def test_an_address_that_is_none_is_refused(name: str, url: str) -> None:
    with pytest.raises(ValueError, match=name):
        a_mail(**{name: url})


def test_a_mail_names_what_is_wrong() -> None:
    for wrong, told in (({"slots": 0}, "slots is 0"), ({"slots": 33}, "slots is 33"), ({"life_ms": 0}, "life_ms is 0")):
        with pytest.raises(ValueError, match=told):
            a_mail(**wrong)


def test_a_mail_links_to_no_page_that_ends_it_unless_there_is_one() -> None:
    parts, without = Parts(a_mail()), Parts(a_mail(unsubscribe=None))
    assert "Unsubscribe" in parts.text and "Unsubscribe" not in without.text
    assert without.addresses == parts.addresses[:-1] and without.text.rstrip().endswith("opened this mail.")


def test_the_command_invents_no_page_and_says_so(tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(mail)
    (tmp_path / "slots.key").write_bytes(KEY)
    out = tmp_path / "mail.html"
    given = ["42", "--server", SERVER, "--key", str(tmp_path / "slots.key"), "--out", str(out)]
    done = CliRunner().invoke(app, given)
    assert done.exit_code == 0 and "--unsubscribe" in done.stderr
    assert "unsubscribe" not in out.read_text(encoding="utf-8").lower()
    done = CliRunner().invoke(app, [*given, "--unsubscribe", "https://shop.example/leave"])
    assert done.exit_code == 0 and done.stderr == ""
    assert Parts(out.read_text(encoding="utf-8")).addresses[-1] == "https://shop.example/leave"


def test_the_command_writes_a_mail_that_the_key_opens(tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(mail)
    (tmp_path / "slots.key").write_bytes(KEY)
    given = ["42", "--server", SERVER, "--key", str(tmp_path / "slots.key"), "--out", str(tmp_path / "mail.html")]
    done = CliRunner().invoke(app, [*given, "--about", "<b>Lamp</b>", "--slots", "2", "--message", "m7"])
    assert done.exit_code == 0, done.output
    page = (tmp_path / "mail.html").read_text(encoding="utf-8")
    tokens = re.findall(r"/v1/slot/([\w-]+)\.png", page)
    assert len(tokens) == 2 and "&lt;b&gt;Lamp&lt;/b&gt;" in page
    read = [Signer([KEY]).read("open", token, time.time_ns() // 1_000_000) for token in tokens]
    assert [(slot.user, slot.message, slot.slot) for slot in read] == [("42", "m7", 0), ("42", "m7", 1)]
    (tmp_path / "slots.key").write_bytes(b"short")
    failed = CliRunner().invoke(app, given)
    assert failed.exit_code == 2
