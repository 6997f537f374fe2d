"""Events that name what the shop does not have are refused, and told what it has."""

import pytest

from tests.ranker.profile.house import event, in_store
from tribid.ranker.profile.counting import check_events
from tribid.ranker.profile.messages import ConsumerEvent

BRANDS = [f"brand-{number}" for number in range(7)]
KNOWN = {"brands": BRANDS, "items": 50, "categories": 20, "actions": ("join_club", "get_app")}


def receipts(folder, *events, **known):
    return in_store(folder, lambda store: store.take(list(events)), **known)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (event("joined", action="club"), "action is 'club'; allowed are join_club, get_app"),
        (event("left", action="club"), "action is 'club'; allowed are join_club, get_app"),
        (event("category_search", category=77), "category is 77; allowed is 0 to 19"),
        (event("view", item=50), "item is 50; allowed is 0 to 49"),
        (
            event("brand_search", brand="acme"),
            "brand is 'acme'; allowed are brand-0, brand-1, brand-2, brand-3, brand-4 and 2 more",
        ),
    ],
)
def test_an_event_that_names_what_there_is_not_is_refused_and_told_what_there_is(tmp_path, wrong, why):
    (told,) = receipts(tmp_path, wrong, **KNOWN)
    assert (told.status, told.why) == ("refused", why)


def test_what_there_is_and_what_is_left_open_is_accepted(tmp_path):
    right = [
        event("joined", action="join_club"), event("joined"), event("left"), event("category_search", category=19),
        event("brand_search", brand="brand-6"), event("view", item=49),
    ]  # fmt: skip
    assert {one.status for one in receipts(tmp_path / "known", *right, **KNOWN)} == {"accepted"}
    anything = [event("joined", action="club"), event("category_search", category=77), event("view", brand="acme")]
    assert {one.status for one in receipts(tmp_path / "open", *anything)} == {"accepted"}


def test_where_there_are_no_actions_none_is_allowed(tmp_path):
    (told,) = receipts(tmp_path, event("joined", action="club"), actions=())
    assert (told.status, told.why) == ("refused", "action is 'club'; allowed is none")


def test_what_is_refused_leaves_no_trace(tmp_path):
    async def use(store):
        await store.take([event("joined", action="club"), event("category_search", category=77)])
        return await store.profile("ann")

    assert in_store(tmp_path, use, **KNOWN) is None


def test_an_event_made_in_python_with_an_unknown_kind_is_told_the_kinds():
    with pytest.raises(
        ValueError, match=r"^\$\.consumers\[0\]\.kind Invalid enum value 'look'; allowed are brand_search, "
    ):
        check_events([ConsumerEvent(id="1", kind="look", user="ann")])
