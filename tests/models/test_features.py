"""The feature pipeline: what it learns, that online and offline are one, its file, and bad input."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tribid.models.batch import PADDING, UNKNOWN, Batch, Examples, IdField
from tribid.models.feature_config import Bucket, FeatureConfig, NumberField, VocabularyRule
from tribid.models.features import SHOP_FEATURES, FeaturePipeline, shop_features, slices
from tribid.models.online_features import OnlineFeatures

ITEMS = pl.DataFrame(
    {
        "advertiser": pl.Series(range(100, 140), dtype=pl.Int32),
        "category": pl.Series([item % 7 for item in range(40)], dtype=pl.Int32),
        "price": pl.Series([1.5 + item for item in range(40)], dtype=pl.Float32),
    }
)


def shop_log(rows: int = 500, seed: int = 0) -> tuple[pl.DataFrame, pl.DataFrame]:
    """A log and histories with the columns of the shop's; some histories are empty, long, or of unknown items."""
    rng = np.random.default_rng(seed)
    shown = rng.integers(0, 40, rows)
    log = ITEMS[shown].with_columns(
        user=pl.Series(rng.integers(0, 30, rows), dtype=pl.Int32),
        day=pl.lit(1, dtype=pl.Int32),
        tick=pl.Series(rng.integers(0, 96, rows), dtype=pl.Int32),
        creative=pl.Series(rng.integers(0, 4, rows), dtype=pl.Int8),
        click=pl.Series(rng.integers(0, 2, rows), dtype=pl.Int8),
        order=pl.Series(rng.integers(0, 2, rows), dtype=pl.Int8),
        history=pl.Series(rng.integers(0, 30, rows), dtype=pl.Int32),
    )
    lengths = [0, 1, 49, 50, 51, 90, *rng.integers(0, 20, 24).tolist()]
    items = [rng.integers(100, 150, length).tolist() for length in lengths]
    histories = pl.DataFrame(
        {
            "user": range(30),
            "item": pl.Series(items, dtype=pl.List(pl.Int32)),
            "category": pl.Series([[item % 7 for item in one] for one in items], dtype=pl.List(pl.Int32)),
            "kind": pl.Series([rng.integers(0, 4, length).tolist() for length in lengths], dtype=pl.List(pl.Int8)),
            "age_days": pl.Series(
                [sorted(rng.random(length), reverse=True) for length in lengths], dtype=pl.List(pl.Float32)
            ),
        }
    )
    return log, histories


@pytest.fixture(scope="module")
def shop() -> tuple[pl.DataFrame, pl.DataFrame, FeaturePipeline]:
    log, histories = shop_log()
    return log, histories, FeaturePipeline().fit(log, histories)


def same(left: Batch, right: Batch) -> None:
    for name, mine, theirs in zip(Batch._fields, left, right, strict=True):
        assert mine.dtype == theirs.dtype and mine.shape == theirs.shape, name
        assert mine.tobytes() == theirs.tobytes(), name


def test_each_logged_impression_has_online_the_same_features_bit_for_bit(
    shop: tuple[pl.DataFrame, pl.DataFrame, FeaturePipeline],
) -> None:
    log, histories, pipeline = shop
    examples = pipeline.examples(log, histories)
    online = OnlineFeatures(pipeline, ITEMS, histories, changing=("creative",))
    candidates = (log["advertiser"] - 100).to_numpy()[:, None]
    users = {name: log[name].to_numpy() for name in ("user", "tick")}
    changing = {"creative": log["creative"].to_numpy()[:, None]}
    same(online.batch(users, candidates, log["history"].to_numpy(), changing), examples.batch(slice(None)))


def test_one_request_with_many_candidates_is_that_row_of_many_requests(
    shop: tuple[pl.DataFrame, pl.DataFrame, FeaturePipeline],
) -> None:
    log, histories, pipeline = shop
    examples = pipeline.examples(log, histories)
    online = OnlineFeatures(pipeline, ITEMS, histories, changing=("creative",))
    for row in range(0, 100, 7):
        users = {name: log[name][row : row + 1].to_numpy() for name in ("user", "tick")}
        creative = np.full((1, 40), log["creative"][row])
        batch = online.batch(
            users, np.arange(40)[None], log["history"][row : row + 1].to_numpy(), {"creative": creative}
        )
        shown = log["advertiser"][row] - 100
        chosen = batch._replace(ad_ids=batch.ad_ids[:, [shown]], ad_numbers=batch.ad_numbers[:, [shown]])
        same(chosen, examples.batch(np.array([row])))


def test_all_columns_of_the_ad_may_change_with_the_request(
    shop: tuple[pl.DataFrame, pl.DataFrame, FeaturePipeline],
) -> None:
    log, histories, pipeline = shop
    examples = pipeline.examples(log, histories)
    names = ("advertiser", "category", "creative", "price")
    online = OnlineFeatures(pipeline, ITEMS.select("advertiser"), histories, changing=names)
    users = {name: log[name].to_numpy() for name in ("user", "tick")}
    changing = {name: log[name].to_numpy()[:, None] for name in names}
    batch = online.batch(users, np.zeros((len(log), 1), dtype=np.int64), log["history"].to_numpy(), changing)
    same(batch, examples.batch(slice(None)))


def test_a_place_without_candidate_is_padding(shop: tuple[pl.DataFrame, pl.DataFrame, FeaturePipeline]) -> None:
    _, histories, pipeline = shop
    online = OnlineFeatures(pipeline, ITEMS, histories, changing=("creative", "price"))
    users = {"user": [1], "tick": [0]}
    changing = {"creative": [[1, 1]], "price": [[5.0, 5.0]]}
    batch = online.batch(users, [[3, -1]], changing=changing)
    assert (batch.ad_ids[0, 1] == PADDING).all() and (batch.ad_numbers[0, 1] == 0).all()
    assert (batch.ad_ids[0, 0] > UNKNOWN).all()
    assert batch.history_length.tolist() == [0] and not batch.history_ids.any()


def test_a_history_and_an_ad_share_the_id_of_one_item(shop: tuple[pl.DataFrame, pl.DataFrame, FeaturePipeline]) -> None:
    log, histories, pipeline = shop
    examples = pipeline.examples(log, histories)
    ids = dict(zip(log["advertiser"].to_list(), examples.ad_ids[:, 0].tolist(), strict=True))
    last = histories["item"].list.last()[1]
    seen = examples.histories.ids[1, 0, 0]
    assert seen == (ids[last] if last in ids else pipeline.vocabularies_["item"].ids(pl.Series([last]))[0])
    assert pipeline.schema_.targets == ("advertiser", "category", "")


def test_histories_keep_the_most_recent_events_oldest_first_padded_behind() -> None:
    config = FeatureConfig(
        ad=(IdField(name="item", vocabulary="item"),),
        history=(IdField(name="items", vocabulary="item"),),
        targets=("item",),
        history_length=3,
    )
    log = pl.DataFrame({"item": [1, 2, 3, 4], "history": [0, 1, 2, None], "click": [0, 1, 0, 1]})
    histories = pl.DataFrame({"items": [[1, 2, 3, 4], [], [4]], "age_days": [[9.0, 3.0, 2.0, 1.0], [], [0.5]]})
    examples = FeaturePipeline(config=config).fit(log, histories).examples(log, histories)
    assert examples.histories.ids[:, :, 0].tolist() == [[3, 4, 5], [0, 0, 0], [5, 0, 0], [0, 0, 0]]
    assert examples.histories.age.tolist() == [[3.0, 2.0, 1.0], [0, 0, 0], [0.5, 0, 0], [0, 0, 0]]
    assert examples.histories.length.tolist() == [3, 0, 1, 0]
    assert examples.history.tolist() == [0, 1, 2, 3]


def test_list_columns_of_the_log_itself_are_histories_too() -> None:
    config = FeatureConfig(
        ad=(IdField(name="item", vocabulary="item"),),
        history=(IdField(name="clicked", vocabulary="item"),),
        targets=("item",),
    )
    log = pl.DataFrame({"item": ["b", "a"], "clicked": [["a", "c"], None], "click": [0, 1]})
    examples = FeaturePipeline(config=config).fit(log).examples(log)
    batch = examples.batch(slice(None))
    assert batch.ad_ids[:, 0, 0].tolist() == [3, 2]
    assert batch.history_ids[:, :2, 0].tolist() == [[2, 4], [0, 0]]


def test_the_hour_comes_from_the_tick() -> None:
    config = shop_features(ticks=32)
    log, histories = shop_log(96)
    log = log.with_columns(tick=pl.Series(range(96)))
    examples = FeaturePipeline(config=config).fit(log, histories).examples(log, histories)
    hours = (np.arange(96) % 32) * 24 // 32
    assert examples.user_ids[:, 1].tolist() == (hours + 2).tolist()
    assert SHOP_FEATURES.buckets["hour"] == Bucket(column="tick", width=2.0, period=48.0)


def test_a_lazy_log_in_slices_teaches_the_same(shop: tuple[pl.DataFrame, pl.DataFrame, FeaturePipeline]) -> None:
    log, histories, pipeline = shop
    lazy = FeaturePipeline().fit(log.lazy(), histories.lazy())
    assert lazy.vocabularies_ == pipeline.vocabularies_ and lazy.scales_ == pipeline.scales_
    parts = list(slices(log.lazy(), 37))
    assert [part.height for part in parts] == [37] * 13 + [19]
    assert pl.concat(parts).equals(log)


def test_fitting_twice_gives_the_same_file(
    tmp_path: Path, shop: tuple[pl.DataFrame, pl.DataFrame, FeaturePipeline]
) -> None:
    log, histories, pipeline = shop
    pipeline.save(tmp_path / "one")
    FeaturePipeline().fit(log, histories).save(tmp_path / "two")
    assert (tmp_path / "one/features.json").read_bytes() == (tmp_path / "two/features.json").read_bytes()


@pytest.mark.parametrize(
    "config", [SHOP_FEATURES, SHOP_FEATURES.model_copy(update={"vocabularies": {"item": VocabularyRule(hash_rows=16)}})]
)
def test_a_saved_pipeline_gives_the_same_features(config: FeatureConfig, tmp_path: Path) -> None:
    log, histories = shop_log()
    pipeline = FeaturePipeline(config=config).fit(log, histories)
    pipeline.save(tmp_path)
    again = FeaturePipeline.load(tmp_path)
    assert again.schema_ == pipeline.schema_
    same(again.examples(log, histories).batch(slice(None)), pipeline.examples(log, histories).batch(slice(None)))


def broken(content: dict[str, Any], path: str, value: Any) -> str:
    place: Any = content
    *way, last = path.split(".")
    for step in way:
        place = place[int(step) if isinstance(place, list) else step]
    place[last] = value
    return json.dumps(content)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("format", "other"),
        ("version", 2),
        ("vocabularies", {}),
        ("vocabularies.item.integers", [3, 1]),
        ("vocabularies.item.kind", "pickle"),
        ("scales.ad", []),
        ("scales.ad.0.deviation", 0.0),
        ("scales.ad.0.mean", float("nan")),
        ("config.targets", []),
        ("config.history_length", -1),
        ("more", 1),
    ],
)
def test_a_changed_file_is_refused_and_named(
    path: str, value: Any, tmp_path: Path, shop: tuple[pl.DataFrame, pl.DataFrame, FeaturePipeline]
) -> None:
    shop[2].save(tmp_path)
    file = tmp_path / "features.json"
    file.write_text(broken(json.loads(file.read_text()), path, value))
    with pytest.raises(ValueError, match=r"features\.json holds no feature pipeline"):
        FeaturePipeline.load(tmp_path)


@pytest.mark.parametrize("data", [b"", b"{", b"\x80\x04\x95", b"[1]", b"null"])
def test_a_file_that_is_no_pipeline_is_refused_and_named(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "features.json").write_bytes(data)
    with pytest.raises(ValueError, match=r"features\.json"):
        FeaturePipeline.load(tmp_path)
    with pytest.raises(ValueError, match=r"nowhere.features\.json cannot be read"):
        FeaturePipeline.load(tmp_path / "nowhere")


def test_what_was_never_seen_is_unknown_and_what_is_missing_is_the_mean(
    shop: tuple[pl.DataFrame, pl.DataFrame, FeaturePipeline],
) -> None:
    log, histories, pipeline = shop
    strange = log.head(2).with_columns(
        advertiser=pl.Series([999, None], dtype=pl.Int64),
        user=pl.Series([10**9, -1]),
        tick=pl.Series([float("nan"), None], dtype=pl.Float64),
        price=pl.Series([float("nan"), float("inf")]),
    )
    examples = pipeline.examples(strange, histories)
    assert examples.ad_ids[:, 0].tolist() == [UNKNOWN, UNKNOWN]
    assert examples.user_ids[:, :2].tolist() == [[UNKNOWN, UNKNOWN]] * 2
    assert examples.ad_numbers.tolist() == [[0.0], [0.0]]


def test_a_missing_number_can_have_a_column_of_its_own() -> None:
    config = FeatureConfig(
        user_numbers=(NumberField(name="count", scale="plain", missing=True), NumberField(name="price"))
    )
    log = pl.DataFrame({"count": [1.0, None, 3.0], "price": [1.0, 1.0, 1.0], "click": [0, 0, 0]})
    pipeline = FeaturePipeline(config=config).fit(log)
    assert pipeline.schema_.user_numbers == ("count", "count_missing", "price")
    assert pipeline.examples(log).user_numbers.tolist() == [[-1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]


def test_a_log_without_rows_teaches_nothing_and_gives_no_examples(
    shop: tuple[pl.DataFrame, pl.DataFrame, FeaturePipeline],
) -> None:
    log, histories, pipeline = shop
    for empty in (log.head(0), log.head(0).lazy()):
        with pytest.raises(ValueError, match="no rows"):
            FeaturePipeline().fit(empty, histories)
    examples = pipeline.examples(log.head(0), histories)
    assert len(examples) == 0 and examples.ad_ids.shape == (0, 3) and examples.batch(slice(None)).size == 0


def test_an_online_batch_may_have_no_requests_and_no_candidates(
    shop: tuple[pl.DataFrame, pl.DataFrame, FeaturePipeline],
) -> None:
    _, histories, pipeline = shop
    online = OnlineFeatures(pipeline, ITEMS.with_columns(creative=pl.lit(0)), histories)
    none: dict[str, list[int]] = {"user": [], "tick": []}
    assert online.batch(none, np.zeros((0, 5), dtype=np.int64)).ad_ids.shape == (0, 5, 3)
    assert online.batch({name: [1] for name in none}, np.zeros((1, 0), dtype=np.int64)).ad_ids.shape == (1, 0, 3)


@pytest.mark.parametrize("constant", [0, 1])
def test_a_constant_label_passes_through(
    constant: int, shop: tuple[pl.DataFrame, pl.DataFrame, FeaturePipeline]
) -> None:
    log, histories, pipeline = shop
    examples = pipeline.examples(log.with_columns(click=pl.lit(constant)), histories)
    assert (examples.labels["click"] == constant).all() and examples.labels["click"].dtype == np.float32


def test_one_user_one_ad_and_one_price_are_enough() -> None:
    log, histories = shop_log(3)
    one = log.head(1)
    examples = FeaturePipeline().fit(pl.concat([one] * 3), histories).examples(pl.concat([one] * 3), histories)
    assert np.isfinite(examples.ad_numbers).all() and (examples.ad_numbers == 0).all()


def test_labels_groups_and_further_columns_stand_beside_the_features(
    shop: tuple[pl.DataFrame, pl.DataFrame, FeaturePipeline],
) -> None:
    log, histories, pipeline = shop
    examples = pipeline.examples(log, histories, labels=("click", "order"), extra=("tick",))
    assert examples.group.tolist() == log["user"].to_list()
    assert examples.extra["tick"].tolist() == log["tick"].to_list()
    assert set(examples.labels) == {"click", "order"}
    assert isinstance(examples.take(np.array([1, 2])), Examples)


def test_groups_of_texts_are_told_apart_and_missing_ones_are_one() -> None:
    config = FeatureConfig(user=(IdField(name="who", vocabulary="who"),), group="who")
    log = pl.DataFrame({"who": ["a", "b", None, "a"], "click": [0, 0, 0, 0]})
    groups = FeaturePipeline(config=config).fit(log).examples(log).group.tolist()
    assert groups[0] == groups[3] != groups[1] and groups[2] == -1 and min(groups[:2]) >= 0


def padded(histories: pl.DataFrame) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Histories as arrays; behind a history's end stands what nobody may read."""
    length = histories["item"].list.len().to_numpy().astype(np.int32)
    events = {}
    for name in ("item", "category", "kind", "age_days"):
        rows = [np.array(one) for one in histories[name].to_list()]
        dtype = np.float32 if name == "age_days" else np.int32
        events[name] = np.stack([np.append(one, np.full(95 - len(one), -9)).astype(dtype) for one in rows])
    return events, length


def test_histories_in_arrays_are_those_of_list_columns_bit_for_bit(
    shop: tuple[pl.DataFrame, pl.DataFrame, FeaturePipeline],
) -> None:
    _, histories, pipeline = shop
    events, length = padded(histories)
    wanted, got = pipeline.histories(histories), pipeline.histories_of_arrays(events, length)
    for mine, theirs in zip(got, wanted, strict=True):
        assert mine.dtype == theirs.dtype and mine.shape == theirs.shape and mine.tobytes() == theirs.tobytes()
    one = pipeline.histories_of_arrays({name: column[5:6] for name, column in events.items()}, length[5:6])
    np.testing.assert_array_equal(one.ids[0], wanted.ids[5])
    none = pipeline.histories_of_arrays({name: column[:0] for name, column in events.items()}, length[:0])
    assert none.ids.shape == (1, 50, 3) and none.length.tolist() == [0]


def test_bad_histories_in_arrays_are_refused_by_name(
    shop: tuple[pl.DataFrame, pl.DataFrame, FeaturePipeline],
) -> None:
    _, histories, pipeline = shop
    events, length = padded(histories)
    with pytest.raises(ValueError, match=r"age_days is -0\.\d+ in the history in row \d+.*tell its outcome"):
        pipeline.histories_of_arrays(events | {"age_days": events["age_days"] - 0.5}, length)
    with pytest.raises(ValueError, match=r"history in row 2 is not sorted by age_days"):
        pipeline.histories_of_arrays(
            events | {"age_days": np.where(events["age_days"] < 0, -9, 1 - events["age_days"])}, length
        )
    with pytest.raises(ValueError, match=r"column kind of the histories has shape \(30, 94\); allowed is \(30, 95\)"):
        pipeline.histories_of_arrays(events | {"kind": events["kind"][:, 1:]}, length)
    with pytest.raises(ValueError, match="length of a history is 96; allowed is 0 to 95"):
        pipeline.histories_of_arrays(events, np.where(np.arange(30) == 3, 96, length))
    with pytest.raises(ValueError, match="histories lack the column kind; they have item"):
        pipeline.histories_of_arrays({"item": events["item"], "category": events["category"]}, length)


def test_a_leak_of_the_future_is_refused(shop: tuple[pl.DataFrame, pl.DataFrame, FeaturePipeline]) -> None:
    _, histories, pipeline = shop
    later = histories.with_columns(pl.col("age_days").list.eval(pl.element() - 0.5))
    with pytest.raises(ValueError, match=r"age_days is -0\.\d+ in the history in row \d+.*tell its outcome"):
        pipeline.histories(later)
    turned = histories.with_columns(pl.col("age_days").list.reverse())
    with pytest.raises(ValueError, match=r"history in row 2 is not sorted by age_days"):
        pipeline.histories(turned)
    short = histories.with_columns(pl.col("kind").list.head(40))
    with pytest.raises(ValueError, match=r"row 2 has 49 events in item and 40 in kind"):
        pipeline.histories(short)


def test_unknown_ages_are_read_as_none_and_break_no_order() -> None:
    config = FeatureConfig(history=(IdField(name="items", vocabulary="item"),), targets=("",))
    frame = pl.DataFrame({"items": [[1, 2, 3]], "age_days": [[4.0, None, 1.0]], "click": [1]})
    pipeline = FeaturePipeline(config=config).fit(frame)
    assert pipeline.histories(frame).age[0, :3].tolist() == [4.0, 0.0, 1.0]


def test_bad_logs_are_refused_by_name(shop: tuple[pl.DataFrame, pl.DataFrame, FeaturePipeline]) -> None:
    log, histories, pipeline = shop
    with pytest.raises(ValueError, match="lacks the column price"):
        FeaturePipeline().fit(log.drop("price"), histories)
    with pytest.raises(ValueError, match="histories lack the column item"):
        FeaturePipeline().fit(log, histories.drop("item"))
    with pytest.raises(ValueError, match=r"column item holds Int64; a history's columns are lists"):
        FeaturePipeline().fit(log, pl.DataFrame({"item": [1], "category": [1], "kind": [1]}))
    with pytest.raises(ValueError, match=r"column price holds String; allowed are numbers"):
        FeaturePipeline().fit(log.cast({"price": pl.String}), histories)
    with pytest.raises(ValueError, match=r"column user holds Float64; ids are"):
        FeaturePipeline().fit(log.cast({"user": pl.Float64}), histories)
    with pytest.raises(ValueError, match=r"label click is missing or not finite in row 0"):
        pipeline.examples(log.with_columns(click=None), histories)
    with pytest.raises(ValueError, match=r"history is 99 in row 0; allowed are rows of histories from 0 to 29"):
        pipeline.examples(log.with_columns(history=pl.lit(99)), histories)
    with pytest.raises(ValueError, match="call fit first"):
        FeaturePipeline().examples(log, histories)
    with pytest.raises(ValueError, match="column name holds String; further columns"):
        pipeline.examples(log.with_columns(name=pl.lit("x")), histories, extra=("name",))


def test_bad_requests_are_refused_by_name(shop: tuple[pl.DataFrame, pl.DataFrame, FeaturePipeline]) -> None:
    _, histories, pipeline = shop
    online = OnlineFeatures(pipeline, ITEMS, histories, changing=("creative",))
    users, creative = {"user": [1], "tick": [0]}, {"creative": [[0]]}
    with pytest.raises(ValueError, match="from -1 to 39"):
        online.batch(users, [[40]], changing=creative)
    with pytest.raises(ValueError, match=r"whole numbers \[B, N\]"):
        online.batch(users, [[0.5]], changing=creative)
    with pytest.raises(ValueError, match="users lack the column tick"):
        online.batch({"user": [1]}, [[0]], changing=creative)
    with pytest.raises(ValueError, match="2 rows in user, and there are 1 requests"):
        online.batch({**users, "user": [1, 2]}, [[0]], changing=creative)
    with pytest.raises(ValueError, match="history has the shape"):
        online.batch(users, [[0]], [0, 1], creative)
    with pytest.raises(ValueError, match=r"history is 30 in row 0"):
        online.batch(users, [[0]], [30], creative)
    with pytest.raises(ValueError, match=r"brings the columns \[\], wanted are \['creative'\]"):
        online.batch(users, [[0]])
    with pytest.raises(ValueError, match=r"creative has the shape \(1, 2\)"):
        online.batch(users, [[0]], changing={"creative": [[0, 1]]})
    with pytest.raises(ValueError, match="changing names 'slot'"):
        OnlineFeatures(pipeline, ITEMS, histories, changing=("slot",))


def test_histories_can_be_replaced_while_the_ads_stay(shop: tuple[pl.DataFrame, pl.DataFrame, FeaturePipeline]) -> None:
    _, histories, pipeline = shop
    online = OnlineFeatures(pipeline, ITEMS.with_columns(creative=pl.lit(0)), histories)
    other = online.with_histories(histories.reverse())
    users = {"user": [1], "tick": [0]}
    assert (
        online.batch(users, [[0]], [29]).history_length.tolist()
        == other.batch(users, [[0]], [0]).history_length.tolist()
    )
    assert online.batch(users, [[0]], [2]).history_length.tolist() == [49]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"targets": ("advertiser",)}, "targets are"),
        ({"targets": ("advertiser", "category", "shop")}, "targets are"),
        ({"buckets": {"minute": {"column": "tick"}}}, "'minute' is no column"),
        ({"vocabularies": {"shop": {}}}, "no column draws from the vocabulary 'shop'"),
        ({"ad_numbers": [{"name": "price"}, {"name": "price"}]}, "names a column twice"),
        ({"ad_numbers": [{"name": "price", "scale": "cube"}]}, "'log' or 'plain'"),
        ({"colour": 1}, "colour"),
    ],
)
def test_impossible_configs_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FeatureConfig.model_validate({**SHOP_FEATURES.model_dump(), **change})
