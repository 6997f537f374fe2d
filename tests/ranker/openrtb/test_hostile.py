"""Hostile and broken input: 400 without content and with a reason, nothing reserved, nothing crashed."""

import gzip
import json
import re

import pytest

from tests.ranker.openrtb.house import ask, imp, in_house

DEEP = b"[" * 100_000 + b"]" * 100_000


def _with(**changes):
    return json.dumps(ask("a") | changes).encode()


def _imp(**changes):
    return json.dumps(ask("a", imp(**changes))).encode()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "malformed|truncated"),
        (b"{", "truncated"),
        (b"[]", "Expected `object`"),
        (b"null", "Expected `object`"),
        (b"\xff\xfe{}", "malformed"),
        (b"\x1f\x8b\x08", "malformed"),
        (b"{}", "missing required field `id`"),
        (b'{"id": "a"}', "missing required field `imp`"),
        (b'{"id": "a", "imp": []}', r"\$.imp"),
        (b'{"id": "", "imp": [{"id": "1"}]}', r"\$.id"),
        (b'{"id": 5, "imp": [{"id": "1"}]}', r"\$.id"),
        (b'{"id": "a", "imp": [{}]}', r"missing required field `id` - at `\$.imp"),
        (_imp(bidfloor="1.0"), r"\$\.imp\[0\]\.bidfloor"),
        (_imp(bidfloor=-0.01), "bidfloor"),
        (_imp(bidfloor=float("nan")), "malformed"),
        (_imp(bidfloor=float("inf")), "malformed"),
        (_imp().replace(b'"banner"', b'"bidfloor": 1e999, "banner"'), "out of range.*bidfloor"),
        (_imp(bidfloor=True), "bidfloor"),
        (_imp(banner=[]), "banner"),
        (_imp(native={}), "missing required field `request`"),
        (_imp(pmp={"deals": [{}]}), "deals"),
        (_imp(pmp={"private_auction": 2}), "private_auction"),
        (_imp(qty={"multiplier": 0}), "multiplier"),
        (_with(tmax="120"), r"\$.tmax"),
        (_with(tmax=1.5), r"\$.tmax"),
        (_with(tmax=10**30), r"\$.tmax"),
        (_with(test=2), r"\$.test"),
        (_with(cur="USD"), r"\$.cur"),
        (_with(badv=[1]), r"\$.badv"),
        (_with(user="7"), r"\$.user"),
        (_with(user={"id": 7}), r"\$.user.id"),
        (_with(regs={"coppa": "1"}), "coppa"),
        (_with(imp=[imp(str(n)) for n in range(101)]), r"\$.imp"),
        (b'{"id": "a", "imp": [{"id": "1"}], "ext": ' + DEEP + b"}", "recursion|depth"),
        (DEEP, "object|recursion"),
    ],
    ids=lambda value: str(value[:60]),
)
def test_a_malformed_request_is_refused_without_content_and_with_a_reason(content, why):
    async def use(house):
        before = house.free
        answer = await house.post(content)
        assert (answer.status_code, answer.content) == (400, b"")
        assert re.search(why, answer.headers["x-tribid-why"]), answer.headers["x-tribid-why"]
        assert (house.free, house.front.ranked) == (before, [])

    in_house(use)


def test_a_body_beyond_the_limit_is_refused_also_where_it_unpacks_to_that():
    async def use(house):
        content = _with(ext="x" * 5_000)
        for body, headers in (
            (content, {}),
            (gzip.compress(content), {"content_encoding": "gzip"}),
            (gzip.compress(b" " * 50_000_000), {"content_encoding": "gzip"}),
        ):
            answer = await house.post(body, **headers)
            assert (answer.status_code, answer.content) == (400, b"")

    in_house(use, max_body_bytes=4_096)


def test_a_packed_request_is_read_and_a_broken_one_refused():
    async def use(house):
        packed = gzip.compress(_with())
        assert (await house.post(packed, content_encoding="gzip")).status_code == 200
        assert (await house.post(packed[:-9], content_encoding="gzip")).status_code == 400
        assert (await house.post(b"xx" + packed, content_encoding="gzip")).status_code == 400
        assert (await house.post(_with(), content_encoding="br")).status_code == 415

    in_house(use)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"content_type": "application/json; charset=utf-8"}, 200),
        ({"content_type": "application/x-protobuf"}, 415),
        ({"content_type": "text/plain"}, 415),
        ({"x_openrtb_version": "2.6"}, 200),
        ({"x_openrtb_version": "2.5"}, 200),
        ({"x_openrtb_version": "3.0"}, 400),
        ({"x_openrtb_version": "x"}, 400),
    ],
    ids=str,
)
def test_the_format_and_the_version_are_checked(headers, status):
    async def use(house):
        answer = await house.post(_with(), **headers)
        assert answer.status_code == status
        assert answer.headers["x-openrtb-version"] == "2.6"
        if status == 200:
            assert answer.headers["content-type"] == "application/json"
        else:
            assert answer.content == b""

    in_house(use)


def test_without_a_content_type_json_is_assumed():
    async def use(house):
        assert (await house.client.post("/openrtb2/auction", content=_with())).status_code == 200

    in_house(use)


def test_fields_and_values_of_other_versions_are_passed_over():
    async def use(house):
        request = ask(
            "a", imp(metric=[{"x": 1}], ext={"deep": [[[{}]]]}, novel=None), novel={"x": [1, 2]}, source={"tid": 5},
            site={"page": 7, "id": "s"}, cattax=99, bcat=["future-1"], ext={"n": 10**40}, regs={"gpp": 1},
        )  # fmt: skip
        assert (await house.post(request)).status_code == 200

    in_house(use)


def test_the_reason_in_the_header_cannot_carry_a_header_of_its_own():
    async def use(house):
        for text in ("a\r\nx-evil: 1", "ü\n", "\x00"):
            answer = await house.post(_imp(**{text: 1, "bidfloor": text}))
            assert answer.status_code == 400 and "x-evil" not in answer.headers
            assert answer.headers["x-tribid-why"].isprintable()

    in_house(use)


def test_a_request_that_blocks_a_hundred_thousand_names_is_answered():
    async def use(house):
        blocked = [f"d{n}.example" for n in range(50_000)]
        answer = await house.post(ask("a", badv=blocked))
        assert answer.status_code == 200
        assert (await house.post(ask("b", badv=["x"] * 100_001))).status_code == 400

    in_house(use, max_body_bytes=8_000_000)


def test_get_is_no_way_to_ask_for_a_bid():
    async def use(house):
        assert (await house.client.get("/openrtb2/auction")).status_code == 405

    in_house(use)
