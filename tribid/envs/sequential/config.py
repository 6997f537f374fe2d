"""What each content does to a consumer at each stage, as a part of a scenario file."""

from functools import cached_property
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from tribid.envs.worlds import Part, Share

Effect = Annotated[float, Field(ge=-5, le=5, allow_inf_nan=False)]
Cost = Annotated[float, Field(ge=0, le=1000, allow_inf_nan=False)]
Effects = tuple[Effect, Effect, Effect, Effect, Effect]
Shares = tuple[Share, Share, Share, Share, Share]


class Contents(Part):
    """The effects of ``CONTENTS`` (rows: show, review, trial) on consumers by stage (columns: the five ``STAGES``).

    That a show suits the unaware, a review the aware and a trial the interested is published; every number is ours. With
    the defaults the best content of a stage beats the others there by 0.2 to 0.7 in log-odds, as much as a good
    creative does, and after a purchase the contents differ little.
    """

    click: tuple[Effects, Effects, Effects] = Field(
        ((0.35, 0.0, -0.25, -0.10, -0.10), (-0.10, 0.30, 0.05, 0.05, 0.0), (-0.40, -0.05, 0.35, 0.05, 0.10)),
        description="added to the log-odds of a click",
    )
    conversion: tuple[Effects, Effects, Effects] = Field(
        ((0.05, -0.05, -0.20, 0.0, 0.0), (0.0, 0.20, 0.10, 0.05, 0.05), (-0.15, 0.05, 0.45, 0.10, 0.15)),
        description="added to the log-odds that a click converts",
    )
    engage: tuple[Shares, Shares, Shares] = Field(
        ((0.02, 0.01, 0.005, 0.005, 0.01), (0.005, 0.03, 0.01, 0.005, 0.01), (0.002, 0.01, 0.03, 0.01, 0.01)),
        description="chance that an exposure without a click is looked into all the same, which moves the stage",
    )
    cost: tuple[Cost, Cost, Cost] = Field(
        (0.001, 0.002, 0.003),
        description="what a content costs for each exposure or message: booked beside the auction, charged to no budget",
    )
    single: Literal["off", "show", "review", "trial"] = Field(
        "off", description="show this content to everybody instead of a content by stage, to compare"
    )

    @cached_property
    def click_table(self) -> NDArray[np.float32]:
        """``click`` as an array [3, 5]; index it with a content and a stage."""
        return np.array(self.click, np.float32)

    @cached_property
    def conversion_table(self) -> NDArray[np.float32]:
        """``conversion`` as an array [3, 5]."""
        return np.array(self.conversion, np.float32)

    @cached_property
    def engage_table(self) -> NDArray[np.float64]:
        """``engage`` as an array [3, 5]."""
        return np.array(self.engage, np.float64)

    @cached_property
    def cost_micros(self) -> NDArray[np.int64]:
        """``cost`` as integer micros [3]."""
        return np.round(np.array(self.cost) * 1_000_000).astype(np.int64)
