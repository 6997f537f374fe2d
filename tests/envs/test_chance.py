"""Draws: the generator is Philox, streams do not meet, and a draw does not depend on the batch it is drawn in."""

from itertools import pairwise, product

import numpy as np
import pytest
from scipy import stats

from tribid.envs.chance import Stream, lognormal_table, mix64, normals, philox4x32, stream_key, uniforms

N = 20_000
# A p-value that a correct generator falls below once in ten thousand fixed seeds; each seed below was chosen once.
RARE = 1e-4
# Four standard errors of a correlation of N independent pairs.
NO_CORRELATION = 4 / np.sqrt(N)


@pytest.mark.parametrize(
    ("counter", "key", "answer"),
    # Random123 1.14, tests/kat_vectors, "philox4x32 10" (Salmon et al., SC 2011)
    [
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
    ids=["zeros", "ones", "digits of pi"],
)
def test_philox_gives_the_published_known_answers(
    counter: tuple[int, ...], key: tuple[int, ...], answer: tuple[int, ...]
) -> None:
    assert tuple(int(word) for word in philox4x32(*counter, *key)) == answer


def test_uniforms_are_philox_with_the_seed_as_key_and_ad_request_day_stream_as_counter() -> None:
    seed = 0x299F31D0_A4093822
    words = philox4x32(11, 12, 13, int(Stream.OUTCOME), 0xA4093822, 0x299F31D0)
    drawn = uniforms(seed, Stream.OUTCOME, 13, request=12, ad=11)
    assert drawn.tolist() == [int(word) / 2**32 for word in words]


def test_the_numbers_of_the_streams_are_never_renumbered() -> None:
    # A renumbered stream changes every published result: append, never insert.
    assert {stream.name: stream.value for stream in Stream} == {
        "USERS": 1,
        "ITEMS": 2,
        "ADVERTISERS": 3,
        "TRAFFIC": 4,
        "SESSION": 5,
        "DEPTH": 6,
        "OUTCOME": 7,
        "TIE": 8,
        "LEAVE": 9,
        "CTR_ERROR": 10,
        "CVR_ERROR": 11,
        "CALIBRATION": 12,
        "POLICY": 13,
        "NEED": 14,
        "BEHAVIOUR": 15,
        "VISIT": 16,
        "CREATIVE": 17,
        "ORDER": 18,
        "EXPLORE": 19,
        "SCENE": 20,
        "OUTREACH": 21,
        "OPEN": 22,
        "CONSUMER": 23,
        "SEARCH": 24,
        "ACTION": 25,
    }


def _neighbours() -> dict[str, np.ndarray]:
    """First words [N] of draws whose counters or keys differ in one place from ``base``."""
    rows = np.arange(N)
    high = 1 << 32
    return {
        "base": uniforms(5, Stream.OUTCOME, 0, request=rows)[:, 0],
        "another stream": uniforms(5, Stream.TIE, 0, request=rows)[:, 0],
        "the next day": uniforms(5, Stream.OUTCOME, 1, request=rows)[:, 0],
        "the next seed": uniforms(6, Stream.OUTCOME, 0, request=rows)[:, 0],
        "a seed that differs above 32 bits": uniforms(5 + high, Stream.OUTCOME, 0, request=rows)[:, 0],
        "the next ad": uniforms(5, Stream.OUTCOME, 0, request=rows, ad=1)[:, 0],
        "requests far away": uniforms(5, Stream.OUTCOME, 0, request=rows + N)[:, 0],
        "the second word": uniforms(5, Stream.OUTCOME, 0, request=rows)[:, 1],
    }


def test_neighbouring_streams_days_seeds_requests_and_ads_share_no_number_in_any_place() -> None:
    drawn = _neighbours()
    for one, other in product(drawn, drawn):
        if one != other:
            # Of N pairs of 32-bit numbers 5e-6 coincide in the mean.
            assert not (drawn[one] == drawn[other]).any(), f"{one} and {other}"


def test_neighbouring_streams_days_seeds_requests_and_ads_are_uncorrelated() -> None:
    drawn = np.stack(list(_neighbours().values()))
    correlation = np.corrcoef(drawn)[~np.eye(len(drawn), dtype=bool)]
    assert np.abs(correlation).max() < NO_CORRELATION


def test_consecutive_requests_and_ticks_are_uncorrelated() -> None:
    drawn = uniforms(5, Stream.OUTCOME, 0, request=np.arange(N))[:, 0]
    for lag in (1, 2, 16, 400, 1000):
        assert abs(np.corrcoef(drawn[:-lag], drawn[lag:])[0, 1]) < 4 / np.sqrt(N - lag), lag


@pytest.mark.parametrize("stream", list(Stream))
def test_every_word_of_every_stream_is_uniform(stream: Stream) -> None:
    drawn = uniforms(2026, stream, 3, request=np.arange(N), ad=2)
    assert drawn.min() >= 0
    assert drawn.max() < 1
    for word in range(4):
        assert stats.kstest(drawn[:, word], "uniform").pvalue > RARE
        assert stats.chisquare(np.bincount((drawn[:, word] * 64).astype(int), minlength=64)).pvalue > RARE


def test_pairs_of_ads_fill_the_square_evenly() -> None:
    drawn = uniforms(1, Stream.OUTCOME, 0, request=np.arange(N)[:, None], ad=[0, 1])[:, :, 0]
    cells = (drawn * 16).astype(int) @ [16, 1]
    assert stats.chisquare(np.bincount(cells, minlength=256)).pvalue > RARE


def test_normals_are_standard_normal_and_finite() -> None:
    drawn = normals(4, Stream.USERS, request=np.arange(N))
    assert np.isfinite(drawn).all()
    for word in range(4):
        assert stats.kstest(drawn[:, word], "norm").pvalue > RARE


def test_a_draw_does_not_depend_on_the_batch_it_is_drawn_in() -> None:
    rows, ads = np.arange(50), np.arange(7)
    together = uniforms(9, Stream.OUTCOME, 2, request=rows[:, None], ad=ads)
    assert together.shape == (50, 7, 4)
    for row, ad in product(rows[::7], ads):
        assert np.array_equal(together[row, ad], uniforms(9, Stream.OUTCOME, 2, request=int(row), ad=int(ad)))
    backwards = uniforms(9, Stream.OUTCOME, 2, request=rows[::-1], ad=3)
    assert np.array_equal(together[::-1, 3], backwards)


def _mixed(key: int, rows: np.ndarray, ad: int) -> np.ndarray:
    return np.array([int(mix64(key, row, ad)) for row in rows.tolist()], np.uint64)


def test_mix64_is_splitmix64() -> None:
    # The first outputs of SplitMix64 with state 1234567, from Vigna's splitmix64.c; also listed on Rosetta Code,
    # "Pseudo-random numbers/Splitmix64".
    drawn = [int(mix64(1234567, 0, ad)) for ad in range(5)]
    assert drawn == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]


def test_mix64_is_uniform_and_uncorrelated_between_keys_rows_and_ads() -> None:
    rows = np.arange(4000)
    keys = [stream_key(3, Stream.CTR_ERROR, 0), stream_key(3, Stream.CVR_ERROR, 0), stream_key(3, Stream.CTR_ERROR, 1)]
    drawn = np.stack([_mixed(key, rows, ad) for key in keys for ad in (0, 1)]) / 2.0**64
    for column in drawn:
        assert stats.kstest(column, "uniform").pvalue > RARE
    correlation = np.corrcoef(np.vstack([drawn[:, 1:], drawn[:, :-1]]))
    assert np.abs(correlation[~np.eye(len(correlation), dtype=bool)]).max() < 4.5 / np.sqrt(len(rows) - 1)


def test_mix64_table_entries_are_drawn_evenly_by_the_top_bits() -> None:
    top = (_mixed(77, np.arange(4096), 5) >> np.uint64(58)).astype(int)
    assert stats.chisquare(np.bincount(top, minlength=64)).pvalue > RARE


def test_stream_keys_differ_between_seeds_streams_and_days() -> None:
    keys = {int(stream_key(seed, stream, day)) for seed in range(5) for stream in Stream for day in range(5)}
    assert len(keys) == 5 * len(Stream) * 5


@pytest.mark.parametrize("sigma", [0.0, 0.05, 0.2, 0.3, 1.0, 3.0])
def test_the_lognormal_table_has_mean_one(sigma: float) -> None:
    table = lognormal_table(sigma)
    assert table.dtype == np.float32
    assert table.mean(dtype=np.float64) == pytest.approx(1.0, abs=1e-6)
    assert all(low <= high for low, high in pairwise(table.tolist()))
    # The middle 99 % of the log has the spread asked for; the far tails are cut by the table's size.
    logs = np.log(table.astype(np.float64))
    assert np.quantile(logs, 0.8413447) - np.quantile(logs, 0.1586553) == pytest.approx(2 * sigma, rel=2e-3, abs=1e-9)
