"""Vocabularies and scales: what gets an id of its own, what is unknown, and what a number becomes."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tribid.models.batch import FIRST_KNOWN, PADDING, UNKNOWN
from tribid.models.scaling import CLIP, Moments, Scale, signed_log
from tribid.models.vocabulary import Counts, Vocabulary, hash64


def learnt(*columns: pl.Series, min_count: int = 1, hash_rows: int | None = None) -> Vocabulary:
    counts = Counts("item")
    for column in columns:
        counts.add(column)
    return counts.vocabulary(min_count=min_count, hash_rows=hash_rows)


def test_ids_follow_the_values_and_not_the_order_of_the_rows() -> None:
    rows = [30, 10, 20, 10]
    assert learnt(pl.Series(rows)) == learnt(pl.Series(rows[::-1]))
    assert learnt(pl.Series(rows)).ids(pl.Series([10, 20, 30])).tolist() == [2, 3, 4]


def test_values_below_the_minimum_count_are_unknown() -> None:
    vocabulary = learnt(pl.Series(["a", "a", "b"]), pl.Series(["b", "c"]), min_count=2)
    assert vocabulary.ids(pl.Series(["a", "b", "c", "d", None])).tolist() == [2, 3, UNKNOWN, UNKNOWN, UNKNOWN]
    assert vocabulary.rows == 4


@given(st.lists(st.integers(-(2**63), 2**63 - 1)), st.lists(st.integers(-(2**63), 2**63 - 1)))
def test_known_numbers_have_one_id_each_and_others_are_unknown(known: list[int], asked: list[int]) -> None:
    vocabulary = learnt(pl.Series(known, dtype=pl.Int64))
    place = {value: FIRST_KNOWN + index for index, value in enumerate(sorted(set(known)))}
    ids = vocabulary.ids(pl.Series(known + asked, dtype=pl.Int64))
    assert ids.tolist() == [place.get(value, UNKNOWN) for value in known + asked]
    assert ids.dtype == np.int32


@given(st.lists(st.text()), st.lists(st.text()))
def test_known_texts_have_one_id_each_and_others_are_unknown(known: list[str], asked: list[str]) -> None:
    vocabulary = learnt(pl.Series(known, dtype=pl.String))
    place = {
        value: FIRST_KNOWN + index for index, value in enumerate(sorted(set(known), key=lambda text: text.encode()))
    }
    expected = [place.get(value, UNKNOWN) for value in known + asked]
    assert vocabulary.ids(pl.Series(known + asked, dtype=pl.String)).tolist() == expected


@pytest.mark.parametrize("values", [[0, 5, -7, 2**62], ["", "shoes", "läufer"]])
def test_hashed_values_fall_into_the_table_and_are_never_padding_or_unknown(values: list[object]) -> None:
    vocabulary = learnt(pl.Series(values), hash_rows=50)
    ids = vocabulary.ids(pl.Series(values + values))
    assert ((ids >= FIRST_KNOWN) & (ids < 50)).all() and vocabulary.rows == 50
    assert (ids[: len(values)] == ids[len(values) :]).all()
    assert vocabulary.ids(pl.Series([None], dtype=pl.Series(values).dtype)).tolist() == [UNKNOWN]


@given(
    st.lists(st.integers(-(2**63), 2**63 - 1), max_size=20),
    st.lists(st.integers(-(2**63), 2**63 - 1), max_size=20),
    st.sampled_from([None, 7, 1000]),
)
def test_an_array_has_the_ids_of_a_column(known: list[int], asked: list[int], hash_rows: int | None) -> None:
    vocabulary = learnt(pl.Series(known, dtype=pl.Int64), hash_rows=hash_rows)
    values = np.array(known + asked, np.int64)
    wanted = vocabulary.ids(pl.Series(values))
    got = vocabulary.ids_of_array(values[:, None])
    assert got.dtype == wanted.dtype
    np.testing.assert_array_equal(got, wanted[:, None])


def test_arrays_of_every_type_have_the_ids_of_a_column() -> None:
    vocabulary, words = learnt(pl.Series([3, 0, 200, 1])), learnt(pl.Series(["a", "b"]))
    kinds: list[type] = [np.int8, np.uint8, np.int16, np.uint32, np.uint64, np.bool_]
    for kind in kinds:
        values = np.array([0, 1, 3, 100], kind)
        np.testing.assert_array_equal(vocabulary.ids_of_array(values), vocabulary.ids(pl.Series(values)))
    assert words.ids_of_array(np.array([["b", "c"]])).tolist() == [[3, UNKNOWN]]
    for values in (np.array(["3"]), np.array([0.5])):
        with pytest.raises(ValueError, match="column item holds"):
            vocabulary.ids_of_array(values, "item")
    with pytest.raises(ValueError, match="column item holds Int64; its vocabulary was learnt from texts"):
        words.ids_of_array(np.array([1]), "item")


def test_hashes_are_the_published_ones() -> None:
    # SplitMix64 seeded with 0 gives these two first; BLAKE2b with 8 bytes, of "abc".
    assert int(hash64(pl.Series([0]))[0]) == 0xE220A8397B1DCDAF
    assert hash64(pl.Series(["abc"]))[0] == int.from_bytes(bytes.fromhex("d8bb14d833d59559"), "little")


def test_hashes_spread_evenly() -> None:
    ids = learnt(pl.Series([0]), hash_rows=102).ids(pl.Series(np.arange(100_000)))
    counts = np.bincount(ids, minlength=102)[FIRST_KNOWN:]
    # Chi-square with 99 degrees of freedom: mean 99, standard deviation 14.
    assert ((counts - 1000.0) ** 2 / 1000.0).sum() < 99 + 5 * 14


def test_one_vocabulary_holds_one_kind() -> None:
    with pytest.raises(ValueError, match=r"column b holds String.*'item'.*Int64"):
        learnt(pl.Series("a", [1]), pl.Series("b", ["x"]))
    with pytest.raises(ValueError, match=r"column c holds String; its vocabulary was learnt from integers"):
        learnt(pl.Series([1])).ids(pl.Series("c", ["1"]))
    with pytest.raises(ValueError, match=r"column d holds Float64; ids are whole numbers"):
        learnt(pl.Series("d", [1.5]))
    with pytest.raises(ValueError, match=r"column e holds whole numbers beyond 64 bits"):
        learnt(pl.Series("e", [2**64 - 1], dtype=pl.UInt64))


def test_a_column_of_nulls_makes_every_value_unknown() -> None:
    vocabulary = learnt(pl.Series([None, None]))
    assert vocabulary.rows == 3
    assert vocabulary.ids(pl.Series([1, None])).tolist() == [UNKNOWN, UNKNOWN]


@pytest.mark.parametrize(
    "content",
    [
        {"kind": "integers", "integers": [2, 1]},
        {"kind": "integers", "integers": [1, 1]},
        {"kind": "texts", "integers": [1]},
        {"kind": "texts", "texts": ["a"], "hash_rows": 10},
        {"kind": "integers", "integers": [2**63]},
        {"kind": "integers", "hash_rows": 2},
        {"kind": "integers", "integers": ["1"]},
        {"kind": "floats"},
    ],
)
def test_impossible_vocabularies_are_refused(content: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        Vocabulary.model_validate(content)


def test_numbers_are_standardised_and_missing_ones_are_the_mean() -> None:
    numbers = np.array([1.0, 5.0, np.nan, np.inf])
    scale = Scale.of(Moments().and_those_of(numbers), log=False)
    assert (scale.mean, scale.deviation) == (3.0, 2.0)
    assert scale(numbers).tolist() == [-1.0, 1.0, 0.0, 0.0]
    assert scale([1e30, -1e30]).tolist() == [CLIP, -CLIP]


def test_the_signed_logarithm_is_log1p_above_zero_and_odd() -> None:
    values = np.array([0.0, 1.0, 99.0])
    assert signed_log(values).tolist() == np.log1p(values).tolist()
    assert signed_log(-values).tolist() == (-np.log1p(values)).tolist()


def test_a_constant_column_becomes_zero() -> None:
    scale = Scale.of(Moments().and_those_of(np.full(1000, 0.1)), log=False)
    assert scale.deviation == 1.0
    assert abs(scale([0.1])[0]) < 1e-6


def test_moments_of_chunks_are_those_of_the_whole() -> None:
    numbers = np.random.default_rng(0).normal(1e6, 1.0, size=1000)
    merged = Moments()
    for chunk in np.array_split(numbers, 7):
        merged = merged.and_those_of(chunk)
    assert merged.size == 1000
    assert merged.mean == pytest.approx(numbers.mean(), rel=1e-14)
    assert merged.squares / 1000 == pytest.approx(numbers.var(), rel=1e-9)


def test_each_number_is_scaled_by_itself_whatever_stands_beside_it() -> None:
    # Vector instructions and the loop over the rest could differ in the last bit.
    numbers = np.random.default_rng(1).lognormal(3.0, 2.0, size=37)
    scale = Scale(log=True, mean=2.9, deviation=1.7)
    whole = scale(numbers)
    for start in range(37):
        for stop in range(start + 1, 38):
            assert scale(numbers[start:stop]).tobytes() == whole[start:stop].tobytes()
    assert PADDING == 0
