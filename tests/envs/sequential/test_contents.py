import numpy as np
import pytest
from pydantic import ValidationError

from tribid.envs.sequential.config import Contents
from tribid.envs.sequential.contents import CONTENTS
from tribid.envs.stages import STAGES


def test_by_default_a_show_suits_the_unaware_a_review_the_aware_and_a_trial_the_interested() -> None:
    contents = Contents()
    for table in (contents.click_table, contents.conversion_table, contents.engage_table):
        assert table.shape == (len(CONTENTS), len(STAGES))
        assert table[:, :3].argmax(axis=0).tolist() == [0, 1, 2]


def test_costs_are_whole_micros() -> None:
    assert Contents(cost=(0.0, 0.0015, 1.0)).cost_micros.tolist() == [0, 1500, 1_000_000]


def test_off_as_yaml_reads_it_means_content_by_stage() -> None:
    assert Contents.model_validate({"single": False}).single == "off"


@pytest.mark.parametrize(
    ("field", "value"),
    [("single", "film"), ("cost", (-1.0, 0.0, 0.0)), ("click", ((9.0,) * 5,) * 3), ("engage", ((0.5,) * 4,) * 3)],
)
def test_a_field_out_of_bounds_is_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(ValidationError, match=field):
        Contents.model_validate({field: value})


def test_tables_are_float32_as_the_world_adds_them() -> None:
    assert Contents().click_table.dtype == Contents().conversion_table.dtype == np.float32
