"""The iPinYou logs: their columns, their units and the training statistics that come with them.

Source: Zhang, Yuan, Wang and Shen, "Real-Time Bidding Benchmarking with iPinYou Dataset" (2014, arXiv:1407.7073), and
the preparation of it that the literature on bidding uses. A price there is a CPM in fen: hundredths of a yuan per
1000 impressions. One impression at price 1 costs 0.01 / 1000 yuan = 10 micros.

Rows are read by `tribid.envs.logs.read_log`; this module holds what is particular to the format.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

PRICE_UNIT_MICROS = 10
"""What one impression costs, in micros of a yuan, at price 1."""

THETA_COLUMNS = ("click", "price", "pctr")
"""The short form, separated by spaces, without a header: what was predicted ("theta") and the market price."""

LOG_COLUMNS = (
    "click", "weekday", "hour", "bid_id", "timestamp", "log_type", "user_id", "user_agent", "ip", "region", "city",
    "ad_exchange", "domain", "url", "anonymous_url_id", "slot_id", "slot_width", "slot_height", "slot_visibility",
    "slot_format", "slot_floor_price", "creative_id", "bid_price", "paying_price", "key_page", "advertiser_id",
    "user_tags",
)  # fmt: skip
"""The full form, separated by tabs. Test logs have two more columns, `COUNT_COLUMNS`."""

COUNT_COLUMNS = ("click_count", "conversion_count")

FEATURES = (
    "weekday", "hour", "user_agent", "region", "city", "ad_exchange", "domain", "slot_id", "slot_width", "slot_height",
    "slot_visibility", "slot_format", "slot_floor_price", "creative_id", "advertiser_id", "user_tags",
)  # fmt: skip
"""What was known before the auction and describes no single person: the columns that a predictor may be fitted on.

The prices of the auction would give its outcome away; user id, address and url would single people out. `user_tags`
holds several tags, separated by commas."""

_CHINA_MS = 8 * 3600 * 1000

_INFO_KEYS = (
    "imp_train", "clk_train", "cost_train", "price_counter_train", "imp_test", "clk_test", "cost_test", "dim", "field",
)  # fmt: skip


def utc_ms(timestamps: pl.Series) -> pl.Series:
    """Return milliseconds since 1970 in UTC for texts yyyyMMddHHmmssSSS, null where a text is no such time.

    The clock of the log is taken to be China Standard Time, eight hours before UTC.

    >>> utc_ms(pl.Series(["19700101080000001", "20131301000000000"])).to_list()
    [1, None]
    """
    form = timestamps.str.contains(r"^\d{17}$")
    # The milliseconds are put apart: chrono, which polars parses with, reads no fraction without a point before it.
    seconds = timestamps.str.slice(0, 14).str.to_datetime("%Y%m%d%H%M%S", strict=False, time_unit="ms")
    rest = timestamps.str.slice(14, 3).cast(pl.Int64, strict=False)
    total = seconds.cast(pl.Int64) + rest - _CHINA_MS
    return total.zip_with(form & (total >= 0), pl.Series([None], dtype=pl.Int64))


@dataclass(frozen=True, kw_only=True, eq=False)
class CampaignStats:
    """A campaign's counts in the training and the test period, as its .info.json gives them.

    `price_counter_train[p]` is how many training impressions had the market price p, in price units (CPM in fen).
    """

    impressions_train: int
    clicks_train: int
    cost_train_micros: int
    price_counter_train: NDArray[np.int64]
    impressions_test: int
    clicks_test: int
    cost_test_micros: int
    dimension: int
    fields: int
    price_unit_micros: int = PRICE_UNIT_MICROS

    @property
    def ctr(self) -> float:
        """Clicks per training impression."""
        return self.clicks_train / self.impressions_train

    @property
    def mean_price_micros(self) -> float:
        """Mean market price of a training impression, in micros."""
        return self.cost_train_micros / self.impressions_train

    def win_rate(self, bid_micros: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the share of training impressions whose market price is at most each bid [...], in micros."""
        cumulative = np.concatenate([[0], np.cumsum(self.price_counter_train)])
        price = np.clip(np.asarray(bid_micros) // self.price_unit_micros, -1, len(cumulative) - 2)
        share: NDArray[np.float64] = cumulative[price + 1] / self.impressions_train
        return share


def read_info(path: str | os.PathLike[str], *, price_unit_micros: int = PRICE_UNIT_MICROS) -> CampaignStats:
    """Read a campaign's .info.json.

    Raises ValueError, which names the file and the key, for what is no JSON object, for a missing key, for a number
    that is no count, and for a price histogram that does not add up to the impressions and the cost.
    """
    try:
        info = json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{os.fspath(path)} is no JSON: {error}") from error
    if not isinstance(info, dict) or not set(_INFO_KEYS) <= info.keys():
        missing = ", ".join(key for key in _INFO_KEYS if not isinstance(info, dict) or key not in info)
        raise ValueError(
            f"{os.fspath(path)} lacks {missing}; an info file is a JSON object with {', '.join(_INFO_KEYS)}"
        )
    counter = info["price_counter_train"]
    if not isinstance(counter, list):
        raise ValueError(f"{os.fspath(path)}: price_counter_train must be a list of counts by price")
    counts = {key: _count(path, key, info[key]) for key in _INFO_KEYS if key != "price_counter_train"}
    histogram = np.array([_count(path, "price_counter_train", number) for number in counter], dtype=np.int64)
    if counts["imp_train"] == 0 or counts["clk_train"] > counts["imp_train"]:
        raise ValueError(f"{os.fspath(path)}: imp_train must be above 0 and at least clk_train")
    if histogram.sum() != counts["imp_train"] or histogram @ np.arange(len(histogram)) != counts["cost_train"]:
        raise ValueError(f"{os.fspath(path)}: price_counter_train does not add up to imp_train and cost_train")
    histogram.flags.writeable = False
    return CampaignStats(
        impressions_train=counts["imp_train"],
        clicks_train=counts["clk_train"],
        cost_train_micros=counts["cost_train"] * price_unit_micros,
        price_counter_train=histogram,
        impressions_test=counts["imp_test"],
        clicks_test=counts["clk_test"],
        cost_test_micros=counts["cost_test"] * price_unit_micros,
        dimension=counts["dim"],
        fields=counts["field"],
        price_unit_micros=price_unit_micros,
    )


def _count(path: str | os.PathLike[str], key: str, value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**53:
        raise ValueError(f"{os.fspath(path)}: {key} holds {value!r}, allowed is a whole number from 0")
    return value
