"""``tribid attribution`` and ``tribid fit intent`` on the log of a small simulated world."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import typer
from typer.testing import CliRunner

from tribid.cli.intent import attribution, fit_intent
from tribid.cli.terminal import console
from tribid.envs.attribution.credit import METHODS
from tribid.envs.attribution.shoppers import CHANNEL_NAMES, ShopperLaw, live
from tribid.envs.attribution.touch_file import write_touch_log
from tribid.models import store

INDUSTRIES = np.array(["toys", "food", "phones"])


@pytest.fixture(autouse=True)
def _known_to_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(store.KINDS, "purchase_intent", ("tribid.models.intent.index", "PurchaseIntentIndex"))


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Ads, behaviours and orders in one file."""
    lived = live(ShopperLaw(pairs=900, days=30), 2)
    folder = tmp_path_factory.mktemp("touches")
    nobody = lived.orders.where(np.zeros(len(lived.orders), bool))
    write_touch_log(folder / "ads.parquet", lived.ads, lived.orders, channels=CHANNEL_NAMES, industry=INDUSTRIES)
    write_touch_log(folder / "acts.parquet", lived.behaviours, nobody, channels=("shop",), industry=INDUSTRIES)
    both = pl.concat([pl.read_parquet(folder / name) for name in ("ads.parquet", "acts.parquet")])
    both.write_parquet(folder / "touches.parquet")
    return str(folder / "touches.parquet")


def run(*arguments: str) -> tuple[int, str]:
    app = typer.Typer()
    app.command()(attribution)
    app.command()(fit_intent)
    result = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200"})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def refused(*arguments: str) -> str:
    """The one line of a mistake."""
    code, text = run(*arguments)
    lines = [line for line in text.splitlines() if line.startswith("error: ")]
    assert code == 2 and len(lines) == 1, text
    return lines[0]


@pytest.mark.parametrize("ending", ["svg", "png"])
def test_credit_of_every_rule_stands_side_by_side_sums_to_the_orders_and_is_drawn(
    log: str, tmp_path: Path, ending: str
):
    plot, out = tmp_path / f"credit.{ending}", tmp_path / "credit.json"
    code, text = run("attribution", "--log", log, "--plot", str(plot), "--out", str(out))
    assert code == 0 and all(name in text for name in CHANNEL_NAMES) and "time decay" in text, text
    told = json.loads(out.read_text())
    assert set(told["credit"]) == set(METHODS) and set(told["credit"]["linear"]) == set(CHANNEL_NAMES)
    for shares in told["credit"].values():
        assert sum(shares.values()) == pytest.approx(told["orders"] - told["direct"], abs=1e-9)
    first = plot.read_bytes()
    assert first.startswith(b"\x89PNG" if ending == "png" else b"<?xml")
    run("attribution", "--log", log, "--plot", str(plot))
    assert plot.read_bytes() == first
    if ending == "svg":
        assert all(f">{name}<".encode() in first for name in (*CHANNEL_NAMES, "linear", "conversions credited"))


def test_credit_can_be_of_value_by_brand_and_of_some_rules(log: str):
    code, text = run("attribution", "--log", log, "--by", "brand", "--methods", "first,last", "--value")
    assert code == 0 and "value credited" in text and "shapley" not in text


def test_channels_that_met_fewer_than_fifty_users_are_hidden_and_cannot_be_had_by_taking_away_the_others(
    tmp_path: Path,
):
    """60 users met feed, 55 search, 20 email: email is hidden, and search, for email is all orders less feed and search."""
    rows = [
        (user, channel) for channel, users in (("feed", 60), ("search", 55), ("email", 20)) for user in range(users)
    ]
    clicks = [(user, 0, 1.0, "click", channel) for user, channel in rows]
    bought = [(user, 0, 2.0, "order", "") for user in range(30)]
    pl.DataFrame(
        [*clicks, *bought], schema=["user", "brand", "time_hours", "event", "channel"], orient="row"
    ).write_csv(tmp_path / "log.csv")
    code, text = run("attribution", "--log", str(tmp_path / "log.csv"), "--plot", str(tmp_path / "credit.svg"))
    assert code == 0 and "feed" in text and "email" not in text and "search" not in text, text
    assert "2 of the log's channels not told" in text


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--methods", "median"), "'median' is not known; choose first or last"),
        (("--by", "user"), "'user' is not known; choose channel or brand or event"),
        (("--events", "review"), "has no touch of review"),
        (("--events", "looked"), "events holds 'looked'; choose exposure"),
        (("--lookback-days", "0"), "lookback_hours is 0.0; allowed are positive numbers"),
        (("--plot", "credit.jpg"), "allowed are files that end in .svg or .png"),
        (("--log", "none.parquet"), "no file none.parquet"),
    ],
)
def test_a_mistake_is_told_in_one_line(log: str, arguments: tuple[str, ...], told: str):
    assert told in refused("attribution", "--log", log, *arguments)


def test_an_index_is_learnt_measured_and_saved(log: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(console, "_width", 200)
    code, text = run("fit-intent", "--log", log, "--out", str(tmp_path / "run"), "--set", "half_life_days=7")
    assert code == 0 and all(name in text for name in (*INDUSTRIES, "brand search", "regression")), text
    index = store.load_model(tmp_path / "run", kind="purchase_intent")
    assert index.half_life_days == 7 and index.industries == tuple(sorted(INDUSTRIES))
    assert store.read_card(tmp_path / "run").measures["index"] > 0.5
    told = index.predict(np.eye(8), np.zeros((8, 8)), ["food"] * 8)
    assert ((told > 0) & (told < 100)).all()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--test-days", "90"), "days; allowed is more than the 90 to measure on"),
        (("--set", "half_life=7"), "purchase_intent has no setting 'half_life'; choose half_life_days"),
        (("--set", "credit=median"), "credit is 'median'; choose first"),
        (("--test-days", "0"), "test_days is 0.0"),
    ],
)
def test_an_index_that_cannot_be_learnt_is_told_in_one_line(log: str, tmp_path: Path, arguments, told):
    assert told in refused("fit-intent", "--log", log, "--out", str(tmp_path), *arguments)
