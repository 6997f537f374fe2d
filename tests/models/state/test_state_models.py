"""Models of a visit's state: as good as the truth allows, calibrated, repeatable, and safe with what they never met."""

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from tests.models.state.conftest import Visits, table, visits
from tribid.envs.platform import StateModel
from tribid.envs.visit_events import VisitEvents
from tribid.models.state.counts import FEATURES, CountState, count_features
from tribid.models.state.estimator import StateEstimator, _split
from tribid.models.state.events import events_of
from tribid.models.state.kernel import SequenceWeights, log_odds
from tribid.models.state.network import SequenceNetwork, event_tensors
from tribid.models.state.quality import state_quality
from tribid.models.state.sequence import SequenceState

MODELS = {"counts": lambda **options: CountState(**options), "sequence": lambda **options: small(**options)}


def small(**options: Any) -> SequenceState:
    return SequenceState(**{"epochs": 2, "hidden": 8, "events": 12} | options)


@pytest.fixture(scope="module")
def sequence(train: Visits) -> SequenceState:
    return SequenceState(events=12, epochs=12, hidden=24, seed=4).fit(train.sessions, train.buying)


@pytest.fixture(scope="module")
def counts(train: Visits) -> CountState:
    return CountState(events=12).fit(train.sessions, train.buying)


def test_the_network_comes_near_the_best_that_can_be_told_and_the_base_line_does_not(
    sequence: SequenceState, counts: CountState, test: Visits
) -> None:
    best = state_quality(test.posterior, test.buying)
    own = state_quality(sequence.predict(*test.sessions), test.buying)
    base = state_quality(counts.predict(*test.sessions), test.buying)
    assert best.log_loss < own.log_loss < base.log_loss < base.base_log_loss
    known = (best.base_log_loss - own.log_loss) / (best.base_log_loss - best.log_loss)
    assert known > 0.85, "the share of what events can tell"
    assert own.auc > base.auc + 0.03


@pytest.mark.parametrize("name", ["sequence", "counts"])
def test_predictions_are_calibrated_on_visits_that_were_not_seen(
    name: str, request: pytest.FixtureRequest, test: Visits
) -> None:
    model = request.getfixturevalue(name)
    quality = state_quality(model.predict(*test.sessions), test.buying)
    assert quality.pcoc == pytest.approx(1.0, abs=0.08)
    assert quality.cal_10 < 0.35
    assert model.quality_.log_loss == pytest.approx(quality.log_loss, abs=0.05)


def test_where_only_the_order_differs_counts_tell_less_than_the_sequence() -> None:
    mixed = [visits(1500, seed, pace=False) for seed in (11, 12)]
    own = SequenceState(events=12, epochs=15, hidden=24, seed=1).fit(mixed[0].sessions, mixed[0].buying)
    plain = CountState(events=12).fit(mixed[0].sessions, mixed[0].buying)
    scored = [state_quality(model.predict(*mixed[1].sessions), mixed[1].buying).auc for model in (own, plain)]
    assert scored[0] > scored[1] + 0.04


@pytest.mark.parametrize("name", MODELS)
def test_the_same_seed_gives_the_same_weights_to_the_bit_and_another_seed_other_ones(name: str) -> None:
    some = visits(300, 5)
    one, same, other = (MODELS[name](seed=seed).fit(some.sessions, some.buying).learnt()[1] for seed in (3, 3, 4))
    assert all(np.array_equal(one[part], same[part]) for part in one)
    assert any(not np.array_equal(one[part], other[part]) for part in one)


def test_learning_leaves_torchs_own_draws_and_threads_alone() -> None:
    import torch

    some = visits(60, 6)
    threads = torch.get_num_threads()
    torch.manual_seed(1)
    wanted = torch.rand(3)
    torch.manual_seed(1)
    small(epochs=1).fit(some.sessions, some.buying)
    assert torch.equal(torch.rand(3), wanted) and torch.get_num_threads() == threads


@pytest.mark.parametrize("name", ["sequence", "counts"])
def test_a_visits_chance_does_not_depend_on_the_visits_beside_it(
    name: str, request: pytest.FixtureRequest, test: Visits
) -> None:
    model = request.getfixturevalue(name)
    together = model.predict(*(column[:300] for column in test.sessions))
    backwards = model.predict(*(column[:300][::-1] for column in test.sessions))
    np.testing.assert_array_equal(together, backwards[::-1])
    for v in range(0, 300, 7):
        assert model.predict(*(column[v : v + 1] for column in test.sessions))[0] == together[v]


def test_the_compiled_network_tells_what_torchs_does(sequence: SequenceState, test: Visits) -> None:
    events = events_of(test.sessions, sequence.events)
    events = events.rows(np.flatnonzero(events.length > 0))
    assert {1, sequence.events} <= set(events.length.tolist())
    with torch.inference_mode():
        wanted = copy.deepcopy(sequence.network_).double()(event_tensors(events, torch.float64)).numpy()
    got = log_odds(SequenceWeights.of(sequence.network_), events)
    np.testing.assert_allclose(got, wanted, rtol=1e-11, atol=1e-12)
    assert np.ptp(got) > 1.0


@pytest.mark.parametrize("name", ["sequence", "counts"])
def test_padding_behind_a_visit_and_the_width_of_the_arrays_change_nothing(
    name: str, request: pytest.FixtureRequest, test: Visits
) -> None:
    model = request.getfixturevalue(name)
    kind, category, seconds, length = (column[:100] for column in test.sessions)
    behind = np.arange(12) >= length[:, None]
    dirty = np.where(behind, 5, kind), np.where(behind, 3, category), np.where(behind, np.nan, seconds)
    wide = [np.concatenate([column, column], axis=1) for column in dirty]
    wanted = model.predict(kind, category, seconds, length)
    np.testing.assert_array_equal(model.predict(*dirty, length), wanted)
    np.testing.assert_array_equal(model.predict(*wide, length), wanted)


@pytest.mark.parametrize("name", ["sequence", "counts"])
def test_an_empty_visit_is_given_the_base_rate_and_the_unknown_a_finite_chance(
    name: str, request: pytest.FixtureRequest, train: Visits
) -> None:
    model = request.getfixturevalue(name)
    assert model.base_rate_ == pytest.approx(train.buying.mean())
    odd = VisitEvents(
        np.array([[0, 0], [99, -7], [0, 3]], np.int8), np.array([[0, 0], [-1, 10**9], [4, 4]], np.int32),
        np.array([[0, 0], [np.nan, -1], [np.inf, 1e38]], np.float32), np.array([0, 2, 2], np.int32),
    )  # fmt: skip
    chances = model.predict(*odd)
    assert chances.dtype == np.float32
    assert chances[0] == np.float32(model.base_rate_)
    assert np.isfinite(chances).all() and ((chances > 0) & (chances < 1)).all()
    assert model.predict_sessions(pl.DataFrame({"kind": [[]], "category": [[]], "seconds": [[]]}))[0] == chances[0]


@pytest.mark.parametrize("name", MODELS)
def test_a_table_is_learnt_from_and_told_as_arrays_are(name: str) -> None:
    some = visits(200, 8)
    frame = table(some.sessions, some.buying)
    of_arrays = MODELS[name]().fit(some.sessions, some.buying)
    of_table = MODELS[name]().fit(frame, frame["true_buying"].to_numpy())
    np.testing.assert_array_equal(of_table.predict_sessions(frame), of_arrays.predict(*some.sessions))


def test_both_models_are_what_a_platform_asks_for_the_state(sequence: SequenceState, counts: CountState) -> None:
    models: list[StateModel] = [sequence, counts]
    assert all(isinstance(model, StateEstimator) for model in models)


def test_visits_without_events_count_for_the_base_rate_alone() -> None:
    some = visits(200, 9)
    empty = VisitEvents(*(np.concatenate([column, np.zeros_like(column)]) for column in some.sessions))
    without, beside = (
        CountState().fit(some.sessions, some.buying),
        CountState().fit(empty, np.r_[some.buying, [0] * 200]),
    )
    np.testing.assert_array_equal(without.weights_, beside.weights_)
    assert beside.base_rate_ == pytest.approx(without.base_rate_ / 2)


@pytest.mark.parametrize("name", MODELS)
def test_one_class_no_events_and_no_fit_are_refused(name: str) -> None:
    some, model = visits(50, 10), MODELS[name]()
    with pytest.raises(ValueError, match="learnt nothing yet"):
        model.predict(*some.sessions)
    with pytest.raises(ValueError, match="learnt nothing yet"):
        model.learnt()
    with pytest.raises(ValueError, match="buying is 1 in 50 of 50"):
        model.fit(some.sessions, np.ones(50))
    nothing = some.sessions._replace(length=np.zeros(50, np.int32))
    with pytest.raises(ValueError, match="buying is 1 in 0 of 0"):
        model.fit(nothing, some.buying)


def test_constant_visits_are_given_the_share_of_the_label() -> None:
    same = VisitEvents(
        np.zeros((400, 3), np.int8), np.ones((400, 3), np.int32), np.ones((400, 3), np.float32), np.full(400, 3)
    )
    labels = np.arange(400) % 4 == 0
    for make in MODELS.values():
        assert make().fit(same, labels).predict(*same) == pytest.approx(np.full(400, 0.25), abs=0.03)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: CountState(events=0), "events is 0; allowed is 1 to 1000"),
        (lambda: CountState(held_out=1.0), "held_out is 1.0"),
        (lambda: CountState(seed=-1), "seed is -1"),
        (lambda: CountState(inverse_penalty=0.0), "inverse_penalty is 0.0"),
        (lambda: SequenceState(hidden=0), "hidden is 0"),
        (lambda: SequenceState(epochs=True), "epochs is True"),
        (lambda: SequenceState(learning_rate=float("nan")), "learning_rate is nan"),
        (lambda: SequenceState(forget=1.0), "forget is 1.0"),
    ],
)
def test_a_setting_out_of_range_is_refused_by_name(make: Any, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        make()


def test_learning_stops_early_and_keeps_the_best_epoch() -> None:
    some = visits(160, 13)
    model = small(epochs=40, patience=2, learning_rate=0.03, hidden=32).fit(some.sessions, some.buying)
    record = model.record_
    assert record is not None
    assert len(record.losses) == len(record.held_out) < 40
    assert record.best == int(np.argmin(record.held_out)) == len(record.held_out) - 3
    assert record.losses[-1] < record.losses[0]


# Parts


def test_attention_looks_at_events_alone_and_sums_to_one() -> None:
    import torch

    torch.manual_seed(0)
    network, some = SequenceNetwork(4, 6), visits(40, 14)
    t = event_tensors(events_of(some.sessions, 15), torch.float32)
    weight = network.attention(torch.randn(40, 15, 6), t.length).detach().numpy()
    behind = np.arange(15) >= some.sessions.length[:, None]
    assert (weight[behind] == 0).all() and (weight[~behind] > 0).all()
    assert weight.sum(axis=1) == pytest.approx(np.ones(40), abs=1e-6)


def test_the_held_out_part_has_both_labels_and_its_share() -> None:
    labels = np.r_[np.zeros(900), np.ones(100)].astype(np.float32)
    rows, kept = _split(labels, 0.2, np.random.default_rng(0))
    assert sorted([*rows, *kept]) == list(range(1000))
    assert len(kept) == 200 and labels[kept].sum() == 20
    rows, kept = _split(np.array([0, 0, 1, 1], np.float32), 0.01, np.random.default_rng(0))
    assert set(labels[[0, 999]]) == {0.0, 1.0} and len(rows) == len(kept) == 2


def test_counts_by_hand() -> None:
    visit = VisitEvents(
        np.array([[0, 0, 3, 99]], np.int8), np.array([[1, 1, 2, 1]], np.int32),
        np.array([[2.0, 4.0, 1.0, np.nan]], np.float32), np.array([4], np.int32),
    )  # fmt: skip
    found = dict(zip(FEATURES, count_features(events_of(visit, 5))[0], strict=True))
    wanted = {
        "log1p events of view": np.log1p(2), "log1p events of cart": np.log1p(1), "log1p seconds of view": np.log1p(6),
        "log1p seconds of cart": np.log1p(1), "log1p events": np.log1p(4), "share of events with unknown seconds": 0.25,
        "share of events in the category before": 0.25, "share of events in a category met before": 0.5,
    }  # fmt: skip
    for name, value in found.items():
        assert value == pytest.approx(wanted.get(name, 0.0), abs=1e-6), name


def test_quality_by_hand() -> None:
    quality = state_quality([0.2, 0.4, 0.4, 0.8], [0, 0, 1, 1])
    assert quality.auc == 3.5 / 4
    assert quality.pcoc == pytest.approx(1.8 / 2)
    assert quality.log_loss == pytest.approx(-(np.log(0.8) + np.log(0.6) + np.log(0.4) + np.log(0.8)) / 4)
    assert quality.base_log_loss == pytest.approx(np.log(2))
    with pytest.raises(ValueError, match="labels are all 1"):
        state_quality([0.5, 0.5], [1, 1])


# Files


@pytest.mark.parametrize("name", ["sequence", "counts"])
def test_a_saved_model_says_the_same_to_the_bit(
    name: str, request: pytest.FixtureRequest, test: Visits, tmp_path: Path
) -> None:
    model = request.getfixturevalue(name)
    card = model.save(tmp_path)
    assert card.measures["log_loss"] == pytest.approx(model.quality_.log_loss)
    loaded = type(model).load(tmp_path)
    np.testing.assert_array_equal(loaded.predict(*test.sessions), model.predict(*test.sessions))
    assert loaded.settings() == model.settings() and loaded.quality_ is None
    loaded.save(tmp_path / "again")
    assert (tmp_path / "again" / "weights.safetensors").read_bytes() == (tmp_path / "weights.safetensors").read_bytes()


def test_a_file_of_another_kind_or_with_settings_that_do_not_fit_is_refused(
    counts: CountState, sequence: SequenceState, tmp_path: Path
) -> None:
    counts.save(tmp_path / "counts")
    with pytest.raises(ValueError, match="kind is 'state_counts'; allowed is 'state_sequence'"):
        SequenceState.load(tmp_path / "counts")
    sequence.save(tmp_path / "sequence")
    path = tmp_path / "sequence" / "card.json"
    card = json.loads(path.read_text())
    for change in ({"hidden": 25}, {"hidden": "many"}, {"colour": 1}, {"events": 0}):
        path.write_text(json.dumps(card | {"settings": card["settings"] | change}))
        with pytest.raises(ValueError, match="no state_sequence can be made of this"):
            SequenceState.load(tmp_path / "sequence")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"slope": np.zeros(2)}, "tensor slope is missing or of another shape"),
        ({"base_rate": np.array([1.5])}, "base_rate is 1.5"),
        ({"scale": np.zeros(len(FEATURES))}, "scale holds 0"),
        ({"weights": np.zeros(3)}, r"tensor weights has shape \[3\]"),
        ({"more": np.zeros(3)}, "tensor 'more' is missing or not called for"),
    ],
)
def test_weights_that_do_not_fit_are_refused_by_name(counts: CountState, change: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        CountState.restored(counts.settings(), None, counts.learnt()[1] | change)
