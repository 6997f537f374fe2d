"""``RedisLink``: a client of Redis that tells its failures as ours, and rewrites what the server keeps on disk."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tribid.ranker.profile.errors import ProfilesUnavailableError
from tribid.ranker.profile.redis_scripts import COMMIT, ERASE, GROUP, HAND_OUT, MOVE, SWAP_LOG, Keys

_POLL_S = 0.02
_REWRITE_S = 600


class RedisLink:
    """``client`` answers in bytes; ``commit``, ``erase``, ``move``, ``hand_out`` and ``swap_log`` are the scripts."""

    def __init__(self, url: str, prefix: str) -> None:
        try:
            import redis.asyncio
        except ImportError as error:
            raise ImportError("profiles in Redis need its client: pip install 'tribid[redis]'") from error
        if not url.startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("the URL of Redis begins otherwise; allowed is redis://, rediss:// or unix://")
        if not prefix or not prefix.replace("-", "").replace("_", "").isalnum() or not prefix.isascii():
            raise ValueError(f"prefix is {prefix!r:.60}; allowed are letters, digits, - and _")
        self.keys = Keys(prefix)
        self.client: Any = redis.asyncio.Redis.from_url(url, socket_timeout=10, socket_connect_timeout=5)
        self._errors = (redis.RedisError, OSError)
        self.commit, self.erase = self.client.register_script(COMMIT), self.client.register_script(ERASE)
        self.swap_log = self.client.register_script(SWAP_LOG)
        self.move, self.hand_out = self.client.register_script(MOVE), self.client.register_script(HAND_OUT)

    async def begin(self, salt: bytes) -> bytes:
        """Make what every store needs where it is absent; the store's salt, which is ``salt`` in a new one."""
        import redis

        with self.reached():
            await self.client.set(self.keys.salt, salt, nx=True)
            try:
                await self.client.xgroup_create(self.keys.moves, GROUP, id="0", mkstream=True)
            except redis.ResponseError as error:
                if "BUSYGROUP" not in str(error):
                    raise
            found: bytes = await self.client.get(self.keys.salt)
            return found

    @contextmanager
    def reached(self) -> Iterator[None]:
        """Turns what the client raises into ``ProfilesUnavailableError``, which repeats nothing of the URL."""
        try:
            yield
        except self._errors as error:
            raise ProfilesUnavailableError(f"Redis cannot be used: {type(error).__name__}: {error}") from error

    async def rewrite_files(self) -> None:
        """Have the server write its files anew, so that they hold nothing but what it holds; return when it has.

        ``ProfilesUnavailableError`` where it does not within ten minutes, or may not.
        """
        try:
            async with asyncio.timeout(_REWRITE_S):
                with self.reached():
                    await self._rewrite()
        except TimeoutError:
            raise ProfilesUnavailableError("Redis did not rewrite its files in time") from None

    async def _rewrite(self) -> None:
        if (await self.client.info("persistence"))["aof_enabled"]:
            await self._idle("aof_rewrite_in_progress", "aof_rewrite_scheduled", "rdb_bgsave_in_progress")
            await self.client.bgrewriteaof()
            await self._idle("aof_rewrite_in_progress", "aof_rewrite_scheduled")
            if (await self.client.info("persistence"))["aof_last_bgrewrite_status"] != "ok":
                raise ProfilesUnavailableError("Redis could not rewrite its append-only file; see its log")
        if (await self.client.config_get("save")).get("save"):
            await self._idle("rdb_bgsave_in_progress", "aof_rewrite_in_progress")
            await self.client.bgsave()
            await self._idle("rdb_bgsave_in_progress")
            if (await self.client.info("persistence"))["rdb_last_bgsave_status"] != "ok":
                raise ProfilesUnavailableError("Redis could not save its snapshot; see its log")

    async def close(self) -> None:
        """Close the connections."""
        await self.client.aclose()

    async def _idle(self, *busy: str) -> None:
        while True:
            told = await self.client.info("persistence")
            if not any(told.get(name) for name in busy):
                return
            await asyncio.sleep(_POLL_S)
