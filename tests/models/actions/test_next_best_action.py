import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save

from tribid.models.actions.examples import ActionExamples
from tribid.models.actions.features import feature_names, vector_of
from tribid.models.actions.fitting import calibrated, held_out
from tribid.models.actions.next_best_action import NextBestAction
from tribid.models.actions.world import ActionWorld
from tribid.models.ranking_measures import expected_auc
from tribid.models.store import CARD_FILE, WEIGHTS_FILE

NAMES = feature_names(2)


@pytest.fixture(scope="session")
def logistic(world: ActionWorld, examples: ActionExamples) -> NextBestAction:
    return NextBestAction(model="logistic").fit(examples, world.rules.names, world.names)


@pytest.fixture(scope="session")
def network(world: ActionWorld, examples: ActionExamples) -> NextBestAction:
    return NextBestAction(epochs=15).fit(examples, world.rules.names, world.names)


@pytest.mark.parametrize("which", ["logistic", "network"])
def test_it_learns_who_takes_what(which: str, world: ActionWorld, request: pytest.FixtureRequest) -> None:
    model: NextBestAction = request.getfixturevalue(which)
    fresh = world.features(np.arange(10_000, 13_000))
    truth, told = world.chance(fresh), model.predict(fresh)
    assert model.known_.all() and told.dtype == np.float32 and told.shape == truth.shape
    got = np.mean([expected_auc(truth[:, one], told[:, one]) for one in range(len(world.rules))])
    best = np.mean([expected_auc(truth[:, one], truth[:, one]) for one in range(len(world.rules))])
    assert got - 0.5 > 0.7 * (best - 0.5)
    assert told.mean() == pytest.approx(truth.mean(), rel=0.15)


def test_the_weights_of_a_logistic_model_say_what_drives_an_action(logistic: NextBestAction) -> None:
    weights = logistic.weights_of("buy in category 1")
    assert set(weights) == set(NAMES) and weights["affinity_1"] > 0.2 > 0 > weights["affinity_0"]


def test_only_a_logistic_model_has_weights_to_read(network: NextBestAction) -> None:
    with pytest.raises(ValueError, match="model is 'network'; allowed is 'logistic'"):
        network.weights_of("get the app")


@pytest.mark.parametrize("which", ["logistic", "network"])
def test_a_user_gets_the_same_propensities_in_whatever_batch(
    which: str, world: ActionWorld, request: pytest.FixtureRequest
) -> None:
    model: NextBestAction = request.getfixturevalue(which)
    fresh = world.features(np.arange(20_000, 20_300))
    alone = np.concatenate([model.predict(fresh[one : one + 1]) for one in range(300)])
    np.testing.assert_array_equal(alone, model.predict(fresh))
    np.testing.assert_array_equal(alone[::-1], model.predict(fresh[::-1]))


def test_the_same_log_gives_the_same_network(world: ActionWorld, examples: ActionExamples) -> None:
    one, other = (NextBestAction(epochs=2, seed=4).fit(examples, world.rules.names, world.names) for _ in range(2))
    assert one.digest() == other.digest()
    third = NextBestAction(epochs=2, seed=5).fit(examples, world.rules.names, world.names)
    assert third.digest() != one.digest()


@settings(max_examples=100, deadline=None)
@given(values=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=len(NAMES), max_size=len(NAMES)))
def test_propensities_are_between_0_and_1_for_absurd_features(
    values: list[float], logistic: NextBestAction, network: NextBestAction
) -> None:
    for model in (logistic, network):
        for given_type in (np.float64, np.float32):
            with np.errstate(over="ignore"):
                row = np.array([values], given_type)
            if np.isfinite(row).all():
                told = model.predict(row)
                assert ((told >= 0) & (told <= 1)).all()


def test_features_that_are_no_numbers_are_refused_by_name(logistic: NextBestAction) -> None:
    row = np.zeros((2, len(NAMES)))
    row[1, NAMES.index("days_idle")] = np.nan
    with pytest.raises(ValueError, match="features hold nan for days_idle of user 1"):
        logistic.predict(row)
    with pytest.raises(ValueError, match=r"features have shape \(2, 3\)"):
        logistic.predict(row[:, :3])
    with pytest.raises(ValueError, match=r"features\.days_ydle is no feature; choose count_view"):
        vector_of(NAMES, {"days_ydle": 1.0})
    with pytest.raises(ValueError, match=r"features\.member is inf"):
        vector_of(NAMES, {"member": float("inf")})


def test_an_action_with_too_little_data_has_propensity_0(world: ActionWorld, examples: ActionExamples) -> None:
    counts = examples.counts.copy()
    counts[1] = (49, 0, 500)  # one viewed or not taken too few
    counts[2] = (500, 0, 49)
    model = NextBestAction(model="logistic").fit(examples._replace(counts=counts), world.rules.names, world.names)
    assert model.known_.tolist() == [True, False, False, *[True] * (len(world.rules) - 3)]
    told = model.predict(world.features(np.arange(50)))
    assert (told[:, 1:3] == 0.0).all() and (told[:, 0] > 0).all()


def test_an_action_that_everybody_took_has_no_model(world: ActionWorld, examples: ActionExamples) -> None:
    label = np.where(examples.action == 0, np.float32(1.0), examples.label)
    model = NextBestAction(model="logistic").fit(examples._replace(label=label), world.rules.names, world.names)
    assert not model.known_[0] and model.known_[1:].all()


def test_nothing_to_learn_from_is_a_model_that_knows_nothing(world: ActionWorld, examples: ActionExamples) -> None:
    empty = examples._replace(
        user=examples.user[:0], action=examples.action[:0], label=examples.label[:0], start_ms=examples.start_ms[:0],
        features=examples.features[:0], counts=np.zeros_like(examples.counts),
    )  # fmt: skip
    for kind in ("logistic", "network"):
        model = NextBestAction(model=kind).fit(empty, world.rules.names, world.names)
        assert (model.predict(world.features(np.arange(5))) == 0.0).all()


def test_a_user_is_wholly_kept_aside_or_not() -> None:
    user = np.repeat(np.arange(500), 3)
    aside = held_out(user, 0.2, 0)
    assert (aside.reshape(500, 3).min(axis=1) == aside.reshape(500, 3).max(axis=1)).all()
    assert 0.14 < aside.mean() < 0.26 and (aside != held_out(user, 0.2, 1)).any()


def test_calibration_sets_right_what_is_too_sure() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(-1.0, 1.0, 40_000).astype(np.float32)
    label = (rng.random(40_000) < 1 / (1 + np.exp(-truth))).astype(np.float32)
    action = rng.integers(0, 2, 40_000)
    slope, intercept = calibrated(2.0 * truth + 1.0, action, label, 3)
    np.testing.assert_allclose(slope[:2], 0.5, atol=0.05)
    np.testing.assert_allclose(intercept[:2], -0.5, atol=0.08)
    few = calibrated(2.0 * truth + 1.0, np.where(np.arange(40_000) < 30, 2, 0), label, 3)
    assert few[0][2] == pytest.approx(slope[0], abs=0.05)  # an action of few examples is calibrated with the rest


def test_a_saved_model_comes_back_bit_for_bit(tmp_path: Path, network: NextBestAction, world: ActionWorld) -> None:
    network.save(tmp_path, measures={"auc": 0.7})
    back = NextBestAction.load(tmp_path)
    fresh = world.features(np.arange(40))
    np.testing.assert_array_equal(back.predict(fresh), network.predict(fresh))
    assert back.digest() == network.digest() and back.actions_ == network.actions_
    back.save(tmp_path / "again", measures={"auc": 0.7})
    for name in (CARD_FILE, WEIGHTS_FILE):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / name).read_bytes()


def test_an_unfitted_model_says_so(tmp_path: Path) -> None:
    for act in (lambda: NextBestAction().predict(np.zeros((1, 3))), lambda: NextBestAction().save(tmp_path)):
        with pytest.raises(ValueError, match="has learnt nothing yet"):
            act()


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"model": "forest"}, "model is 'forest'"),
        ({"min_taken": 0}, "min_taken is 0"),
        ({"hidden": (1000,)}, "hidden.0 is 1000"),
        ({"penalty": float("nan")}, "penalty is nan"),
        ({"depth": 2}, "depth is 2"),
    ],
)
def test_settings_that_are_not_allowed_are_refused_by_name(setting: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        NextBestAction(**setting)


@pytest.fixture
def saved(tmp_path: Path, logistic: NextBestAction) -> Path:
    logistic.save(tmp_path)
    return tmp_path


def change_settings(folder: Path, change: dict[str, Any]) -> None:
    card = json.loads((folder / CARD_FILE).read_text())
    card["settings"] |= change
    (folder / CARD_FILE).write_text(json.dumps(card))


def change_weights(folder: Path, change: dict[str, np.ndarray]) -> None:
    """Other weights under an honest digest."""
    weights = load_file(folder / WEIGHTS_FILE) | change
    data = save(weights)
    (folder / WEIGHTS_FILE).write_bytes(data)
    card = json.loads((folder / CARD_FILE).read_text())
    card["weights_sha256"] = hashlib.sha256(data).hexdigest()
    card["tensors"] = {name: {"dtype": str(value.dtype), "shape": list(value.shape)} for name, value in weights.items()}
    (folder / CARD_FILE).write_text(json.dumps(card))


def test_truncated_and_damaged_files_are_refused(saved: Path) -> None:
    card, weights = (saved / CARD_FILE).read_bytes(), (saved / WEIGHTS_FILE).read_bytes()
    for damaged in (b"", weights[:-1], weights[:30], weights[:-2] + b"\x00\x80"):
        (saved / WEIGHTS_FILE).write_bytes(damaged)
        with pytest.raises(ValueError, match="its SHA-256 is"):
            NextBestAction.load(saved)
    (saved / WEIGHTS_FILE).write_bytes(weights)
    for damaged in (b"", card[:-20], b"[]"):
        (saved / CARD_FILE).write_bytes(damaged)
        with pytest.raises(ValueError, match=CARD_FILE):
            NextBestAction.load(saved)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("weight0", np.full((21, 5), np.nan, np.float32), "weight0 holds nan"),
        (
            "weight0",
            np.zeros((21, 4), np.float32),
            r"weight0 is float32 of shape \[21, 4\]; allowed is float32 of shape",
        ),
        ("weight0", np.full((21, 5), 1e30, np.float32), "weight0 holds 1e[+]30; allowed is at most 10000"),
        ("weight0", np.zeros((21, 5), np.float64), "weight0 is float64"),
        ("std", np.zeros(21, np.float32), "std must be above 0"),
        ("slope", np.full(5, -1.0, np.float32), "slope not below 0"),
        ("surprise", np.zeros(1, np.float32), "tensor 'surprise' is missing or not called for"),
    ],
)
def test_weights_that_do_not_fit_are_refused(saved: Path, name: str, value: np.ndarray, message: str) -> None:
    change_weights(saved, {name: value})
    with pytest.raises(ValueError, match=message):
        NextBestAction.load(saved)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fitted": {"actions": ["a"], "features": list(NAMES)}}, r"known is bool of shape \[5\]; allowed is bool"),
        ({"fitted": {"actions": ["a"] * 5, "features": list(NAMES)}}, "names an action or a feature twice"),
        ({"fitted": None}, "no next_best_action can be made of this"),
        ({"fitted": {"actions": [], "features": list(NAMES)}}, "actions"),
        ({"fitted": {"actions": ["a"] * 1001, "features": ["f"]}}, "actions"),
        ({"model": "network"}, "tensor 'bias1' is missing"),
        ({"import": "os"}, "import is 'os'"),
    ],
)
def test_a_card_that_does_not_fit_its_weights_is_refused(saved: Path, change: dict[str, Any], message: str) -> None:
    change_settings(saved, change)
    with pytest.raises(ValueError, match=message):
        NextBestAction.load(saved)


def test_what_it_learnt_is_worth_more_than_popularity_and_chance(world: ActionWorld, network: NextBestAction) -> None:
    fresh = world.features(np.arange(30_000, 33_000))
    truth, told, value = world.chance(fresh), network.predict(fresh).astype(np.float64), world.rules.value
    rows = np.arange(len(fresh))
    learnt = truth[rows, told.argmax(axis=1)].mean()
    by_value = told * value
    assert truth.max(axis=1).mean() >= learnt > 1.05 * truth.mean(axis=0).max() > truth.mean()
    assert (truth * value)[rows, by_value.argmax(axis=1)].mean() > (truth * value)[rows, told.argmax(axis=1)].mean()


def test_propensities_agree_with_the_truth_from_low_to_high(world: ActionWorld, network: NextBestAction) -> None:
    fresh = world.features(np.arange(40_000, 44_000))
    truth, told = world.chance(fresh).ravel(), network.predict(fresh).ravel()
    for part in np.array_split(np.argsort(told), 5):
        assert told[part].mean() == pytest.approx(truth[part].mean(), abs=0.035)
