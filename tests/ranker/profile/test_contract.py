"""Every store keeps the contract; and a store that breaks it is found out."""

import asyncio
import itertools

import pytest

from tribid.ranker.profile.journaled import JournaledProfiles
from tribid.ranker.profile.redis_store import RedisProfiles
from tribid.ranker.profile.testing import check_profiles


def test_journaled_profiles_keep_the_contract(tmp_path):
    folders = (tmp_path / str(number) for number in itertools.count())
    asyncio.run(check_profiles(lambda settings: JournaledProfiles.open(next(folders), settings)))


def test_redis_profiles_keep_the_contract(redis_server):
    async def make(settings):
        return await RedisProfiles.open(redis_server.url, settings, prefix=redis_server.prefix(), claim_ms=0)

    asyncio.run(check_profiles(make))


class _CountsTwice(JournaledProfiles):
    async def take(self, events):
        receipts = await super().take(events)
        for event in events:
            record = self._book.records.get(event.user)
            if record is not None:
                record.ids.clear()
        return receipts


class _ForgetsToErase(JournaledProfiles):
    async def erase(self, user):
        return user in self._book.records


class _SendsTwice(JournaledProfiles):
    async def moved(self, moves):
        for record in self._book.records.values():
            record.settled.clear()
        self._book.moves.clear()
        await super().moved(moves)


@pytest.mark.parametrize("broken", [_CountsTwice, _ForgetsToErase, _SendsTwice])
def test_the_checker_finds_a_store_that_breaks_the_contract(broken, tmp_path):
    folders = (tmp_path / str(number) for number in itertools.count())
    with pytest.raises(AssertionError):
        asyncio.run(check_profiles(lambda settings: broken.open(next(folders), settings)))
