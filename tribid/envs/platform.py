"""What a platform predicts, as a protocol: a learned model reaches the world through it, never by an import.

The default is the truth with an error that the scenario sets, so that the worth of a better prediction can be
measured against a world whose truth is known.
"""

from typing import Any, NamedTuple, Protocol

import numpy as np
from numba import njit, uint64
from numpy.typing import NDArray

from tribid.envs.chance import Stream, lognormal_table, mix64, stream_key
from tribid.envs.channels.sends import Sends


class Requests(NamedTuple):
    """What the platform sees of B requests, in the order of their arrival.

    ``day`` and ``tick`` are the same for all of them; ``request`` [B] is the index within the day, ``user`` [B] the
    user's index (-1 where a log has none), ``session`` [B] the session's index within the tick, ``segment`` [B] the
    user segment that a policy may act on, ``reserve_micros`` [B] the least bid that takes part (in a replayed log the
    market price that has to be met). ``candidates`` [B, N] are the advertisers that retrieval found for each request;
    None means that all advertisers are candidates of every request, in their order. ``buying`` [B] float32 is the
    platform's belief that the visit means to buy, which dynamic ranking uses (None: it has none). ``creative`` [B, N] is
    which of its creatives each candidate would be shown with (None: its first).

    A candidate of -1 is nobody: the place stays empty. Of a world that remembers its users (``tribid.envs.journey``; None
    elsewhere): ``scene`` [B] int8 where the page is, ``stage`` [B, N] int8 the user's stage with each candidate's brand,
    ``shown`` [B, N] int16 the day's exposures of it before, ``bought`` [B] int32 the category of a recent order (-1: none),
    and ``content`` [B, N] int8 the content that each candidate would be shown with (None: plain).
    """

    day: int
    tick: int
    request: NDArray[np.int64]
    user: NDArray[np.int64]
    session: NDArray[np.int64]
    segment: NDArray[np.int64]
    reserve_micros: NDArray[np.int64]
    candidates: NDArray[np.int32] | None = None
    buying: NDArray[np.float32] | None = None
    creative: NDArray[np.int8] | None = None
    scene: NDArray[np.int8] | None = None
    stage: NDArray[np.int8] | None = None
    shown: NDArray[np.int16] | None = None
    bought: NDArray[np.int32] | None = None
    content: NDArray[np.int8] | None = None

    def rows(self, part: slice) -> "Requests":
        """Some of the requests, as they came."""
        columns = (None if column is None else column[part] for column in self[2:])
        return Requests(self.day, self.tick, *columns)  # type: ignore[arg-type]  # the columns in their order

    def place_of(self, advertiser: int) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """Whether an advertiser is a candidate of each request, and its column among the candidates (0 where not)."""
        if self.candidates is None:
            count = len(self.request)
            return np.ones(count, np.bool_), np.full(count, advertiser, np.int64)
        is_own = self.candidates == advertiser
        return is_own.any(axis=1), is_own.argmax(axis=1)


class Rates(NamedTuple):
    """Click rate ``ctr`` [B, N] of an examined ad, and conversion rate ``cvr`` [B, N] of a click, float32 in [0, 1]."""

    ctr: NDArray[np.float32]
    cvr: NDArray[np.float32]


class Forecaster(Protocol):
    """Predicts click and conversion rates for the candidates of some requests.

    ``truth`` holds the world's true rates: only a stand-in such as ``NoisyTruth`` may read it. The answer for a request
    must not depend, beyond float32 rounding, on which other requests are asked for in the same call.
    """

    def predict(self, seed: int, requests: Requests, truth: Rates) -> Rates:
        """Predicted rates, shaped as ``truth``."""
        ...


class Retriever(Protocol):
    """Finds candidates for users from what they did before; see ``tribid.models.retrieval``."""

    def retrieve(
        self, items: NDArray[np.int32], age_days: NDArray[np.float32], length: NDArray[np.int32], count: int,
        allowed: NDArray[np.bool_] | None = None,
    ) -> NDArray[np.int32]:  # fmt: skip
        """Items [B, count] for histories [B, H] of item indices (-1 behind the end), -1 where there are fewer.

        ``allowed`` [I] says which items may be found at all.
        """
        ...


class CreativePicker(Protocol):
    """Chooses which creative each candidate would be shown with."""

    def pick(self, seed: int, requests: Requests) -> NDArray[np.int8]:
        """A creative for each of ``requests.candidates`` [B, N]; a row's answer does not depend on the other rows."""
        ...


class StateModel(Protocol):
    """Tells visits that mean to buy from those that browse, from what they did before their first page."""

    def predict(
        self,
        kind: NDArray[np.int8],
        category: NDArray[np.int32],
        seconds: NDArray[np.float32],
        length: NDArray[np.int32],
    ) -> NDArray[np.float32]:
        """The chance [V] that a visit means to buy, for events [V, E]."""
        ...


class ContentPicker(Protocol):
    """Chooses which content (``tribid.envs.sequential.contents.CONTENTS``) each candidate would be shown with."""

    def pick(self, seed: int, requests: Requests, stage: NDArray[np.int8]) -> NDArray[np.int8]:
        """A content [B, N] for each candidate at the user's stage [B, N] with its brand; rows do not see each other."""
        ...


class Outreach(Protocol):
    """Sends messages outside the auction, such as e-mail and display, at the start of a tick."""

    def send(self, seed: int, day: int, tick: int, memory: Any) -> Sends:
        """What is to be sent now, for the memory of the tick's start; a pure function of its arguments."""
        ...


class Platform(NamedTuple):
    """The learnt parts of a platform, beside its forecaster; what is None is the world's own.

    ``content`` and ``outreach`` are for worlds that remember their users (``kind: journey``).
    """

    retriever: Retriever | None = None
    picker: CreativePicker | None = None
    state: StateModel | None = None
    content: ContentPicker | None = None
    outreach: Outreach | None = None


@njit(cache=True, nogil=True)
def _disturb(key: Any, request: Any, who: Any, truth: Any, bias: Any, table: Any, out: Any) -> None:
    shift, noisy = uint64(52), table.shape[0] > 0
    for b in range(truth.shape[0]):
        for j in range(truth.shape[1]):
            i = j if who.shape[0] == 0 else who[b, j]
            factor = table[mix64(key, request[b], i) >> shift] if noisy else np.float32(1.0)
            out[b, j] = min(np.float32(1.0), truth[b, j] * bias[i] * factor)


class NoisyTruth:
    """The truth times a per-ad calibration factor times a lognormal error per (request, ad).

    Arguments: ``ctr_bias`` and ``cvr_bias`` [N] multiply the truth (1.2 over-predicts by a fifth); ``ctr_noise`` and
    ``cvr_noise`` are the log-scale of an error with mean 1. Predictions are capped at 1.
    """

    def __init__(
        self, ctr_bias: NDArray[np.float64], cvr_bias: NDArray[np.float64], ctr_noise: float, cvr_noise: float
    ) -> None:
        self.ctr_bias = ctr_bias.astype(np.float32)
        self.cvr_bias = cvr_bias.astype(np.float32)
        self.ctr_table = _table(ctr_noise)
        self.cvr_table = _table(cvr_noise)

    def predict(self, seed: int, requests: Requests, truth: Rates) -> Rates:
        """Predicted rates [B, N] float32."""
        ctr, cvr = np.empty_like(truth.ctr), np.empty_like(truth.cvr)
        who = np.zeros((0, 0), np.int32) if requests.candidates is None else requests.candidates
        key = stream_key(seed, Stream.CTR_ERROR, requests.day)
        _disturb(key, requests.request, who, truth.ctr, self.ctr_bias, self.ctr_table, ctr)
        key = stream_key(seed, Stream.CVR_ERROR, requests.day)
        _disturb(key, requests.request, who, truth.cvr, self.cvr_bias, self.cvr_table, cvr)
        return Rates(ctr, cvr)


def _table(noise: float) -> NDArray[np.float32]:
    """``lognormal_table``, empty where there is no noise: its factors would all be 1."""
    return lognormal_table(noise) if noise > 0 else np.zeros(0, np.float32)
