import base64
import hashlib
import hmac
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ranker.open_time.house import KEY, LIFE_MS, START_MS, a_slot, a_token
from tribid.ranker.open_time.tokens import ExpiredError, ForgedError, Signer, Slot, read_keys

OTHER = b"another-key-another-key-another-key"
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)


@given(NAMES, NAMES, st.integers(0, 31))
def test_a_token_gives_back_what_was_sealed_in_it_and_needs_no_quoting(user: str, message: str, number: int) -> None:
    slot, signer = a_slot(number, user=user, message=message), Signer([KEY])
    token = signer.token("open", slot)
    assert signer.read("open", token, START_MS) == slot
    assert all(letter.isascii() and (letter.isalnum() or letter in "-_") for letter in token)


@given(st.data())
def test_a_token_changed_in_one_place_is_refused(data: st.DataObject) -> None:
    token, signer = a_token(), Signer([KEY])
    place = data.draw(st.integers(0, len(token) - 1))
    letter = data.draw(st.sampled_from("ABCxyz019-_.~/+= \n\x00é").filter(lambda one: one != token[place]))
    with pytest.raises(ForgedError):
        signer.read("open", token[:place] + letter + token[place + 1 :], START_MS)


@given(
    st.one_of(
        st.text(max_size=200), st.binary(max_size=150).map(lambda raw: "1" + base64.urlsafe_b64encode(raw).decode())
    )
)
def test_what_nobody_signed_is_refused(token: str) -> None:
    with pytest.raises(ForgedError):
        Signer([KEY]).read("open", token, START_MS)


def test_every_way_to_bend_a_token_is_refused() -> None:
    token, signer = a_token(), Signer([KEY])
    for bent in (
        "", "1", token[:-1], token + "A", token + "=", token + "====", "1" + token, "2" + token[1:], token[1:],
        token.lower(), "\uff11" + token[1:], f" {token}", f"{token}\n", token * 2, token[: len(token) // 2], "A" * 801,
        "1" + "A" * 10**6,
    ):  # fmt: skip
        with pytest.raises(ForgedError):
            signer.read("open", bent, START_MS)


def test_a_token_of_one_purpose_is_none_of_the_other() -> None:
    signer = Signer([KEY])
    with pytest.raises(ForgedError):
        signer.read("click", a_token("open"), START_MS)
    with pytest.raises(ForgedError):
        signer.read("open", a_token("click"), START_MS)


def test_a_token_of_another_key_is_refused_and_keys_can_be_changed() -> None:
    token = a_token()
    with pytest.raises(ForgedError):
        Signer([OTHER]).read("open", token, START_MS)
    changed = Signer([OTHER, KEY])
    assert changed.read("open", token, START_MS) == a_slot()
    assert Signer([OTHER]).read("open", changed.token("open", a_slot()), START_MS) == a_slot()


def test_a_token_lives_until_its_last_millisecond_and_not_before_it_was_issued() -> None:
    token, signer = a_token(), Signer([KEY])
    assert signer.read("open", token, START_MS + LIFE_MS - 1)
    for late in (START_MS + LIFE_MS, START_MS + 100 * LIFE_MS):
        with pytest.raises(ExpiredError):
            signer.read("open", token, late)
    assert signer.read("open", token, START_MS - 60_000)  # clocks differ
    with pytest.raises(ForgedError):
        signer.read("open", token, START_MS - 3_600_000)


def test_an_expired_forgery_is_told_as_a_forgery() -> None:
    with pytest.raises(ForgedError):
        Signer([OTHER]).read("open", a_token(), START_MS + 2 * LIFE_MS)


def test_a_token_says_nothing_of_its_user_message_or_slot() -> None:
    raw = base64.urlsafe_b64decode(a_token(user="customer-4711", message="spring")[1:] + "==")
    assert b"customer" not in raw and b"4711" not in raw and b"spring" not in raw
    tokens = [a_token(number=number, user=user) for number in (0, 1) for user in ("42", "43")]
    for index, token in enumerate(tokens):
        for other in tokens[index + 1 :]:
            assert token[1:9] != other[1:9]
    lengths = {len(a_token(user="u" * size)) for size in range(1, 20)}
    assert len(lengths) <= 2  # padded: the length of a name does not show


def test_the_tag_is_what_its_description_says() -> None:
    sign = hmac.digest(KEY, b"tribid slot sign 1", hashlib.sha256)
    content = msgspec.json.encode(["42", "m1", 0, START_MS, START_MS + LIFE_MS])
    content += b" " * (-len(content) % 32)
    raw = base64.urlsafe_b64decode(a_token()[1:] + "===")
    assert raw[:16] == hmac.digest(sign, b"1.open\0" + content, hashlib.sha256)[:16]
    cover = hmac.digest(KEY, b"tribid slot cover 1", hashlib.sha256)
    stream = b"".join(hmac.digest(cover, raw[:16] + bytes([0, 0, 0, block]), hashlib.sha256) for block in range(4))
    assert bytes(one ^ other for one, other in zip(raw[16:], stream, strict=False)) == content


@pytest.mark.parametrize(
    "field", [{"user": ""}, {"user": "u" * 129}, {"message": ""}, {"slot": 32}, {"slot": -1}, {"expires_ms": -1}]
)
def test_a_slot_that_is_not_allowed_gets_no_token(field: dict[str, object]) -> None:
    given = {"user": "42", "message": "m", "slot": 0, "issued_ms": 0, "expires_ms": 1, **field}
    with pytest.raises(ValueError, match=r"Expected|characters"):
        Signer([KEY]).token("open", Slot(**given))  # type: ignore[arg-type]


def test_a_key_file_holds_long_keys_one_a_line_and_its_faults_are_told_without_them(tmp_path: Path) -> None:
    file = tmp_path / "slots.key"
    file.write_text(f"\n{KEY.decode()}\r\n{OTHER.decode()}\n")
    assert read_keys(file) == [KEY, OTHER]
    for content in (
        "",
        "short",
        f"{KEY.decode()}\nshort",
        "k" * 31,
        "schlüssel" * 5,
        f"{KEY.decode()} blank",
        "\n".join([KEY.decode()] * 5),
    ):
        file.write_text(content)
        with pytest.raises(ValueError, match=r"slots.key has") as raised:
            read_keys(file)
        assert KEY.decode() not in str(raised.value) and "schl" not in str(raised.value)
    with pytest.raises(ValueError, match="cannot be read"):
        read_keys(tmp_path / "none")
    for keys in ([], [b"short"], [KEY] * 5):
        with pytest.raises(ValueError, match="key"):
            Signer(keys)
