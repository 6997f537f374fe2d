"""Draws on tensors are those of the host, to the bit."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tribid.envs import chance
from tribid.envs.chance import Stream
from tribid.gpu.draws import mix64, philox4x32, stream_keys, top_bits, unit4


def words(*values):
    return [torch.tensor([value], dtype=torch.int64) for value in values]


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
def test_philox_gives_the_published_known_answers(counter, key, answer):
    assert tuple(int(word) for word in philox4x32(*words(*counter), *words(*key))) == answer


seeds = st.integers(0, 2**63 - 1)
days = st.integers(0, 2**32 - 1)


@given(seeds, days, st.integers(0, 2**32 - 1), st.integers(0, 2**20 - 1), st.sampled_from(list(Stream)))
def test_uniforms_are_the_hosts(seed, day, request, ad, stream):
    drawn = torch.cat(unit4(*words(seed), stream, *words(day), *words(request), *words(ad)))
    assert drawn.tolist() == chance.uniforms(seed, stream, day, request, ad).tolist()


@given(seeds, days, st.integers(0, 2**32 - 1), st.integers(0, 2**20 - 1), st.sampled_from(list(Stream)))
def test_hashed_bits_are_the_hosts(seed, day, request, ad, stream):
    key = chance.stream_key(seed, stream, day)
    wanted = int(chance.mix64(key, np.uint64(request), np.uint64(ad)))
    found = stream_keys(*words(seed), stream, *words(day))
    assert int(found) % 2**64 == int(key)
    hashed = mix64(found, *words(request), *words(ad))
    assert int(hashed) % 2**64 == wanted
    assert int(top_bits(hashed, 12)) == wanted >> 52


def test_draws_broadcast_over_markets_requests_and_ads():
    seed, request, ad = torch.tensor([3, 4])[:, None, None], torch.arange(5)[None, :, None], torch.arange(7)
    drawn = unit4(seed, Stream.OUTCOME, torch.tensor([[[2]], [[9]]]), request, ad)[1]
    for m, day in ((0, 2), (1, 9)):
        wanted = chance.uniforms(3 + m, Stream.OUTCOME, day, np.arange(5)[:, None], np.arange(7)[None])[..., 1]
        np.testing.assert_array_equal(drawn[m].numpy(), wanted)
