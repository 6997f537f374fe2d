from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import chisquare

from tribid.envs.behaviour import Past
from tribid.envs.catalogue import stock
from tribid.envs.chance import Stream, normals
from tribid.envs.worlds import Behaviour, Needs, ShopWorld


def _past(**changes):
    config = ShopWorld(categories=5, **changes)
    ads = np.arange(10) % 5
    items = stock(config.seed, 200, 5, 8, 1.0, ads, np.linspace(10.0, 100.0, 10))
    words = [normals(config.seed, Stream.USERS, request=np.arange(300), ad=w) for w in range(2)]
    return config, items, Past(config, items, np.hstack(words).astype(np.float32))


def test_a_users_history_does_not_depend_on_who_else_is_asked_for():
    _, _, past = _past()
    many, one = past.histories(3, 10, np.arange(50)), past.histories(3, 10, np.array([17]))
    for whole, alone in zip(many, one, strict=True):
        np.testing.assert_array_equal(whole[17], alone[0])


@pytest.mark.parametrize("asked", [(4, 10, 17), (3, 11, 17), (3, 10, 18)])
def test_who_asks_for_one_user_gets_that_user_of_that_day_and_seed_whoever_was_asked_for_last(asked):
    past = _past()[2]
    past.histories(3, 10, np.array([17]))
    seed, day, user = asked
    kept, anew = past.histories(seed, day, np.array([user])), _past()[2].histories(seed, day, np.array([user, 0]))
    assert all(np.array_equal(a[0], b[0]) for a, b in zip(kept, anew, strict=True))


def test_histories_run_from_the_oldest_event_to_yesterdays_last_and_end_where_their_length_says():
    config, _, past = _past()
    told = past.histories(3, 10, np.arange(100))
    assert told.length.max() <= config.behaviour.kept
    for row, length in enumerate(told.length):
        age = told.age_days[row, :length]
        assert (np.diff(age) < 0).all() and (age > 0).all() and (age <= config.behaviour.days).all()
        assert (told.item[row, :length] >= 0).all() and (told.item[row, length:] == -1).all()
        assert (told.category[row, length:] == -1).all()


def test_tomorrows_history_is_todays_and_the_day_between():
    """No event changes once it has happened."""
    _, _, past = _past()
    today, tomorrow = past.histories(3, 10, np.arange(60)), past.histories(3, 11, np.arange(60))
    for row in range(60):
        kept = tomorrow.age_days[row] > 1
        old = tomorrow.item[row][kept & (tomorrow.item[row] >= 0)]
        np.testing.assert_array_equal(old, today.item[row, : today.length[row]][-len(old) :])


def test_categories_are_chosen_with_the_odds_of_the_days_interests():
    _, _, past = _past(needs=Needs(share=0.0), behaviour=Behaviour(per_day=20.0, kept=1000, days=60))
    user = np.array([4])
    odds = past.category_odds(past.interests(0, 0, user))[0].astype(np.float64)
    counts = np.zeros(5)
    for seed in range(5):
        told = past.histories(seed, 0, user)
        counts += np.bincount(told.category[0, : told.length[0]], minlength=5)
    expected = odds / odds.sum() * counts.sum()
    assert chisquare(counts, expected).pvalue > 1e-3
    assert counts.sum() > 4000


def test_within_a_category_popular_and_matching_items_are_met_more_often():
    config, items, past = _past(needs=Needs(share=0.0), behaviour=Behaviour(per_day=20.0, kept=1000, days=60))
    user = np.array([9])
    z = past.interests(0, 0, user)[0]
    weight = items.weight.astype(np.float64) * np.exp(config.behaviour.sharpness * (items.interests @ z))
    told = [past.histories(seed, 0, user) for seed in range(8)]
    met = np.bincount(np.concatenate([t.item[0, : t.length[0]] for t in told]), minlength=200)
    group = np.bincount(items.category, weights=met).argmax()
    inside = items.category == group
    expected = weight[inside] / weight[inside].sum() * met[inside].sum()
    often = expected > 5
    assert chisquare(
        np.append(met[inside][often], met[inside][~often].sum()), np.append(expected[often], expected[~often].sum())
    ).pvalue > 1e-3  # fmt: skip


def test_needs_change_with_their_period_and_leave_the_lasting_part():
    _, _, past = _past(needs=Needs(share=0.5, period_days=10))
    users = np.arange(200)
    days = [past.interests(1, day, users) for day in range(31)]
    changed = np.array([(a != b).any(axis=1) for a, b in pairwise(days)])
    np.testing.assert_array_equal(changed.sum(axis=0), 3)  # every user's need changes once in ten days
    lasting = past.interests(1, 0, users) - past.interests(
        2, 0, users
    )  # other seeds: other needs, the same lasting part
    assert np.abs(lasting).max() > 0
    correlation = np.corrcoef(days[0].ravel(), days[30].ravel())[0, 1]
    assert correlation == pytest.approx(0.5, abs=0.08)


def test_no_share_of_needs_leaves_the_lasting_interests():
    _, _, past = _past(needs=Needs(share=0.0))
    users = np.arange(20)
    np.testing.assert_array_equal(past.interests(1, 0, users), past.interests(2, 500, users))


def test_kinds_have_their_shares():
    config, _, past = _past(behaviour=Behaviour(per_day=20.0, kept=200))
    told = past.histories(5, 0, np.arange(100))
    kinds = np.concatenate([row[:n] for row, n in zip(told.kind, told.length, strict=True)])
    shares = np.array(config.behaviour.kinds)
    assert chisquare(np.bincount(kinds, minlength=4), shares * len(kinds)).pvalue > 1e-3
