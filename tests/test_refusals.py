"""What is refused is told with what is allowed, at whatever depth it is; other errors stay as they were."""

from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from tribid.ranker.actions.messages import ActionEvents
from tribid.ranker.messages import Request
from tribid.ranker.service.wire import EventBatch, RankBatch
from tribid.refusals import JsonDecoder, listed, what_is_wrong, with_choices

FIELDS = "id, kind, user, item, brand, category, action, channel, time_ms"


@pytest.mark.parametrize(
    ("kind", "body", "told"),
    [
        (EventBatch, b'{"x": 1}', "Object contains unknown field `x`; allowed are events, consumers"),
        (
            EventBatch,
            b'{"consumers": [{"itm": 1}]}',
            f"Object contains unknown field `itm`; allowed are {FIELDS} - at `$.consumers[0]`",
        ),
        (
            EventBatch,
            b'{"consumers": [{"id": "a", "kind": "view"}]}',
            "Object missing required field `user`; required are id, kind, user - at `$.consumers[0]`",
        ),
        (
            EventBatch,
            b'{"consumers": [{"channel": "telex"}]}',
            "Invalid enum value 'telex'; allowed are display, email, feed, search - at `$.consumers[0].channel`",
        ),
        (
            ActionEvents,
            b'{"events": [{"kind": "seen"}]}',
            "Invalid enum value 'seen'; allowed are not_taken, taken, viewed - at `$.events[0].kind`",
        ),
        (
            RankBatch,
            b'{"requests": [{"outcome": {"seen": []}}]}',
            "Object contains unknown field `seen`; allowed are exposed, clicked, converted - at `$.requests[0].outcome`",
        ),
        (Request, b'{"request": -1}', "Expected `int` >= 0 - at `$.request`"),
        (Request, b'{"marks": {"": 1}}', "Expected `str` of length >= 1 - at `key` in `$.marks`"),
        (Request, b"{}", "Object missing required field `request`"),
        (
            list[dict[str, Request]],
            b'[{"a": {"state": "x"}}]',
            "'x'; allowed are browsing, buying - at `$[0][...].state`",
        ),
        (tuple[int, Request], b'[1, {"state": "x"}]', "'x'; allowed are browsing, buying - at `$[1].state`"),
    ],
)
def test_an_error_of_a_decoder_names_the_choices_at_its_place(kind: Any, body: bytes, told: str) -> None:
    with pytest.raises(msgspec.ValidationError) as raised:
        JsonDecoder(kind).decode(body)
    assert str(raised.value).endswith(told) and msgspec.json.decode(b"{}", type=EventBatch) == EventBatch()


def test_an_event_with_an_unknown_kind_is_told_every_kind_there_is() -> None:
    with pytest.raises(
        msgspec.ValidationError, match=r"'look'; allowed are brand_search, cart, .*, store_visit, view - at"
    ):
        JsonDecoder(EventBatch).decode(b'{"consumers": [{"kind": "look"}]}')


def test_what_is_valid_is_decoded_and_what_is_no_json_stays_so() -> None:
    assert JsonDecoder(Request).decode(b'{"request": 1}') == Request(request=1)
    with pytest.raises(msgspec.DecodeError, match="truncated"):
        JsonDecoder(Request).decode(b"{")


@given(st.text(max_size=40) | st.sampled_from([" - at `$.kind`", "` - at `$.events[0]", "x` - at `$"]))
def test_no_name_that_a_caller_makes_up_is_taken_for_a_place(name: str) -> None:
    body = msgspec.json.encode({name: 1})
    with pytest.raises(msgspec.ValidationError, match=r"^Object contains unknown field "):
        JsonDecoder(EventBatch).decode(body)


def test_a_place_that_a_type_does_not_have_gets_no_choices() -> None:
    for told in ("Invalid enum value 'a' - at `$.no.such[3]`", "Object contains unknown field ` - at `$.x`", "else"):
        assert with_choices(told, Request) == told


class _Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")
    kind: Literal["inner"] = "inner"
    depth: int = 0


class _Other(BaseModel):
    model_config = ConfigDict(extra="forbid")
    kind: Literal["other"] = "other"
    inner: dict[str, tuple[_Inner, ...]] = {}


class _Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")
    one: Annotated[_Inner | _Other, Field(discriminator="kind")] = _Inner()
    many: list[_Inner] | None = None


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"x": 1}, "allowed are one, many"),
        ({"one": {"kind": "inner", "x": 1}}, "allowed are kind, depth"),
        ({"one": {"kind": "other", "x": 1}}, "allowed are kind, inner"),
        ({"one": {"kind": "other", "inner": {"a": [{"x": 1}]}}}, "allowed are kind, depth"),
        ({"many": [{}, {"x": 1}]}, "allowed are kind, depth"),
    ],
)
def test_an_unknown_setting_is_told_with_those_of_its_own_part(content: Any, told: str) -> None:
    with pytest.raises(ValidationError) as raised:
        TypeAdapter(_Outer).validate_python(content)
    (detail,) = raised.value.errors()
    assert what_is_wrong(detail, _Outer) == f"Extra inputs are not permitted; {told}"


def test_many_names_are_cut_and_counted() -> None:
    assert listed(range(30), most=2) == "0, 1 and 28 more" and listed([]) == "none"
