"""Random calls, one store against a plain model that keeps every event it was told."""

import asyncio
import shutil
import tempfile
import uuid

from hypothesis import settings, target
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from tests.ranker.profile.house import event
from tests.ranker.profile.house import settings as settings_of
from tribid.envs.triggers import DAY_MS
from tribid.ranker.profile.counting import new_record
from tribid.ranker.profile.journaled import JournaledProfiles
from tribid.ranker.profile.record import Counted
from tribid.ranker.profile.redis_store import RedisProfiles
from tribid.ranker.profile.testing_triggers import Clock, drop

USERS = st.sampled_from(["ann", "bob"])
KINDS = st.sampled_from(["view", "favourite", "cart", "cart_removed", "order", "exposure", "joined", "left", "share"])
TOLD = st.lists(
    st.tuples(USERS, KINDS, st.integers(0, 3), st.integers(0, 30), st.integers(0, 12 * 24)), min_size=1, max_size=4
)
KEEP_DAYS = 7


class ProfileMachine(RuleBasedStateMachine):
    """``make`` opens the one store of a run, again and again."""

    make = None

    def __init__(self):
        super().__init__()
        self.runner = asyncio.Runner()
        self.place = tempfile.mkdtemp(), uuid.uuid4().hex
        self.clock = Clock()
        self.counted = {"ann": {}, "bob": {}}  # what counts: events by id
        self.seen = {"ann": set(), "bob": set()}
        self.erased_ms = {"ann": -1, "bob": -1}
        self.handed = {}  # message id -> what it is about
        self.done = set()
        self.price = 100
        self.open()

    @initialize()
    def begin(self):
        pass

    def open(self):
        self.store = self.runner.run(type(self).make(self.place, settings_of(self.clock, keep_days=KEEP_DAYS)))

    @rule(told=TOLD, twice=st.booleans())
    def events(self, told, twice):
        events = [
            event(
                kind,
                user,
                name=f"{kind}{number}",
                item=item,
                brand=f"b{item}",
                time_ms=self.clock.now_ms - hours * 3_600_000,
            )
            for user, kind, item, number, hours in told
        ]
        for receipts in [self.runner.run(self.store.take(events)) for _ in range(1 + twice)]:
            assert [one.status for one in receipts] == [self.expected(one) for one in events]

    def expected(self, one):
        if one.time_ms < self.clock.now_ms - KEEP_DAYS * DAY_MS or one.time_ms <= self.erased_ms[one.user]:
            return "late"
        if one.id in self.seen[one.user]:
            return "duplicate"
        self.seen[one.user].add(one.id)
        self.counted[one.user][one.id] = one
        return "accepted"

    @rule(item=st.integers(0, 3), version=st.integers(0, 2))
    def move(self, item, version):
        self.price = 100 if self.price == 70 else self.price - 10
        move = drop(item, self.clock.now_ms, version, units=(100, self.price))
        self.runner.run(self.store.moved([move]))
        self.runner.run(self.store.moved([move]))

    @rule(hours=st.floats(0, 3))
    def tend(self, hours):
        self.clock.go(hours)
        self.runner.run(self.store.tend())

    @rule(limit=st.integers(1, 5), is_sent=st.booleans())
    def messages(self, limit, is_sent):
        found = self.runner.run(self.store.messages(limit))
        for message in found:
            assert message.id not in self.done, "handed out again after it was acknowledged"
            assert self.handed.setdefault(message.id, message) == message
            assert not self.profile(message.user).refused, "a message to who opted out"
        if is_sent:
            assert self.runner.run(self.store.acknowledge([one.id for one in found])) == len(found)
            self.done |= {one.id for one in found}

    @rule(user=USERS)
    def erase(self, user):
        was_known = bool(self.counted[user])
        assert self.runner.run(self.store.erase(user)) == was_known
        if was_known:
            self.erased_ms[user] = self.clock.now_ms
        self.counted[user], self.seen[user] = {}, set()
        self.clock.now_ms += 1

    @rule()
    def restart(self):
        self.runner.run(self.store.close())
        self.open()

    def profile(self, user):
        record = new_record(user)
        for one in sorted(self.counted[user].values(), key=lambda one: (one.time_ms, one.id)):
            record.apply(Counted(one))
        return record.profile

    @invariant()
    def profiles_are_those_of_the_counted_events_in_order(self):
        for user, counted in self.counted.items():
            found = self.runner.run(self.store.profile(user))
            if not counted:
                assert found is None
                continue
            wanted = self.profile(user)
            wanted.sent = found.sent
            assert found.shown_day > wanted.shown_day or (
                found.shown_day == wanted.shown_day and all(found.shown[one] >= n for one, n in wanted.shown.items())
            ), "exposures count, and messages with them"
            wanted.shown_day, wanted.shown = found.shown_day, found.shown
            assert found == wanted

    def teardown(self):
        target(float(len(self.handed)))
        self.runner.run(self.store.close())
        self.runner.close()
        shutil.rmtree(self.place[0])


def _run(make, examples, steps):
    machine = type("Machine", (ProfileMachine,), {"make": staticmethod(make)})
    run_state_machine_as_test(
        machine, settings=settings(max_examples=examples, stateful_step_count=steps, deadline=None)
    )  # fmt: skip


def test_journaled_profiles_do_what_a_plain_model_does():
    _run(lambda place, told: JournaledProfiles.open(place[0], told), 25, 25)


def test_redis_profiles_do_what_a_plain_model_does(redis_server):
    async def make(place, told):
        return await RedisProfiles.open(redis_server.url, told, prefix=place[1], claim_ms=0, rewrite_files=False)

    _run(make, 10, 20)
