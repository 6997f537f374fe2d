"""A small journey for every test here: six ticks, two hundred users, all scenes."""

import pytest

from tribid.envs.scenario import load_scenario


@pytest.fixture(scope="package")
def scenario():
    return load_scenario("journey").with_changes(
        world__traffic__requests=1500, world__traffic__ticks=6, world__users__count=200, world__catalogue__items=300,
        generated__count=40, world__retrieval__candidates=12, world__retrieval__cells=4,
    )  # fmt: skip
