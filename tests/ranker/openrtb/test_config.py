"""The bidder's config: defaults for every scenario, one YAML file, and errors that name the field."""

from fractions import Fraction

import pytest

from tests.ranker.openrtb.house import NAMES, config_of, in_house
from tribid.ranker.openrtb import default_config, load_config
from tribid.ranker.openrtb.bidder import OpenRtbSettings


def _loaded(tmp_path, text, names=NAMES):
    path = tmp_path / "openrtb.yaml"
    path.write_text(text)
    return load_config(path, names)


def test_by_default_everybody_bids_in_one_seat_under_a_domain_of_its_own():
    config = default_config(NAMES)
    assert {config.seat_of(name) for name in NAMES} == {"tribid"}
    assert [buyer.adomain for buyer in config.buyers.values()] == [(f"adv-0{n}.example",) for n in range(5)]
    assert config.rates == {"USD": Fraction(1)}


def test_a_file_says_only_what_differs(tmp_path):
    config = _loaded(
        tmp_path,
        "public_url: https://bidder.example/\n"
        "currencies: {EUR: '0.92', USD: 1}\n"
        "seats: {adv_00: north}\n"
        "advertisers:\n"
        "  adv_01: {adomain: [shoes.example], cat: [IAB18-4], deals: [spring-24], w: 300, h: 250, seat: south}\n",
    )
    assert config.url == "https://bidder.example"
    assert list(config.rates.items()) == [("EUR", Fraction("0.92")), ("USD", Fraction(1))]
    assert [config.seat_of(name) for name in NAMES] == ["north", "south", "tribid", "tribid", "tribid"]
    assert config.buyers["adv_01"].deals == ("spring-24",)
    assert config.buyers["adv_01"].crid == "adv_01"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[1, 2]", "holds list; allowed is a mapping"),
        ("a: [", "is not YAML"),
        ("advertisers: {nobody: {}}", "no advertiser 'nobody'; choose adv_00, adv_01"),
        ("seats: {nobody: north}", "no advertiser 'nobody'"),
        ("advertisers: [adv_00]", "advertisers is no mapping"),
        ("advertisers: {adv_00: 5}", "advertisers is no mapping"),
        ("advertisers: {adv_00: {w: 300}}", "w is 300 and h is None; allowed is both or neither"),
        ("advertisers: {adv_00: {adomain: []}}", "advertisers.adv_00.adomain"),
        ("advertisers: {adv_00: {adomain: ['Not A Domain']}}", "advertisers.adv_00.adomain.0"),
        ("advertisers: {adv_00: {landing: 'javascript:alert(1)'}}", "advertisers.adv_00.landing"),
        ("advertisers: {adv_00: {budget: 5}}", "advertisers.adv_00.budget: Extra inputs"),
        ("currencies: {}", "currencies"),
        ("currencies: {usd: 1}", "currencies.usd"),
        ("currencies: {USD: 0}", "currencies.USD"),
        ("currencies: {USD: .nan}", "currencies.USD"),
        ("network_ms: -1", "network_ms"),
        ("no_bid: 404", "no_bid"),
        ("public_url: ftp://x", "public_url"),
        ("unknown: 1", "unknown: Extra inputs"),
    ],
    ids=str,
)
def test_a_wrong_file_is_refused_by_name(tmp_path, text, told):
    with pytest.raises(ValueError, match="OpenRTB config") as error:
        _loaded(tmp_path, text)
    assert told in str(error.value)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ValueError, match="cannot be read"):
        load_config(tmp_path / "none.yaml", NAMES)


def test_yaml_builds_no_objects(tmp_path):
    with pytest.raises(ValueError, match="is not YAML"):
        _loaded(tmp_path, "seat: !!python/object/apply:os.system [echo]")


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"hold_ms": 5}, "hold_ms is 5"),
        ({"max_body_bytes": 1}, "max_body_bytes is 1"),
        ({"user_key": b"x" * 65}, "user_key"),
        ({"secret": b"x" * 15}, "the secret has 15 bytes; allowed are 16 or more"),
    ],
)
def test_wrong_settings_are_refused(settings, told):
    with pytest.raises(ValueError, match=told):
        OpenRtbSettings(**settings)


def test_a_secret_is_drawn_for_each_process_and_never_shown():
    one, other = OpenRtbSettings(), OpenRtbSettings()
    assert one.secret != other.secret and len(one.secret) == 32
    assert repr(one.secret)[2:10] not in repr(one)


def test_a_config_must_know_everybody():
    async def use(house):
        raise AssertionError("never opened")

    with pytest.raises(ValueError, match="has no advertiser 'adv_03'"):
        in_house(use, config=config_of(NAMES[:3]))


def test_the_routes_describe_themselves():
    async def use(house):
        document = (await house.client.get("/openapi.json")).json()
        auction = document["paths"]["/openrtb2/auction"]["post"]
        schema = auction["requestBody"]["content"]["application/json"]["schema"]
        assert schema["required"] == ["id", "imp"]
        assert schema["properties"]["imp"]["items"]["properties"]["bidfloor"]["minimum"] == 0
        assert {"200", "204", "400", "415"} <= set(auction["responses"])
        assert "$ref" not in str(schema)
        response = auction["responses"]["200"]["content"]["application/json"]["schema"]
        price = response["properties"]["seatbid"]["items"]["properties"]["bid"]["items"]["properties"]["price"]
        assert price == {"type": "number"}
        assert set(document["paths"]["/openrtb2/win"]) == {"get", "post"}

    in_house(use)
