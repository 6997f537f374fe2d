import numpy as np
import pytest

from tribid.envs.attribution.control_group import held_out


def test_about_the_share_of_users_is_held_out_and_the_same_ones_each_time():
    users = np.arange(20_000)
    group = held_out(users, share=0.2, salt="spring")
    assert abs(group.mean() - 0.2) < 4 * np.sqrt(0.2 * 0.8 / 20_000)
    np.testing.assert_array_equal(group[5_000:6_000], held_out(users[5_000:6_000], share=0.2, salt="spring"))


def test_a_user_of_the_simulator_and_of_the_service_is_one():
    np.testing.assert_array_equal(held_out(np.arange(500), salt="a"), held_out([str(u) for u in range(500)], salt="a"))


def test_groups_of_two_campaigns_are_independent_and_a_larger_share_holds_the_smaller():
    users = np.arange(20_000)
    one, other = held_out(users, share=0.3, salt="one"), held_out(users, share=0.3, salt="other")
    assert abs((one & other).mean() - 0.09) < 0.01
    assert (held_out(users, share=0.5, salt="one") >= one).all()


def test_shares_and_users_that_are_none_are_refused():
    with pytest.raises(ValueError, match=r"share is 1\.5"):
        held_out([1], share=1.5)
    with pytest.raises(ValueError, match="user is of type float64"):
        held_out([1.0])
    with pytest.raises(ValueError, match=r"share is '0\.1'; allowed are numbers from 0 to 1"):
        held_out([1], share="0.1")
    with pytest.raises(ValueError, match="salt is 3; allowed is a text"):
        held_out([1], salt=3)
