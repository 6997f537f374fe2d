"""``RedisLink``: a client of Redis that tells its failures as ours, and rewrites what the server keeps on disk."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from tribid.ranker.profile.errors import ProfilesUnavailableError
from tribid.ranker.profile.redis_scripts import COMMIT, ERASE, GROUP, HAND_OUT, MOVE, SWAP_LOG, Keys

MOST_CONNECTIONS = 64
"""Of one server process to Redis; more requests at a time wait for one."""

_WAIT_S = 20
_POLL_S = 0.02
_REWRITE_S = 600


class RedisLink:
    """``client`` answers in bytes; ``commit``, ``erase``, ``move``, ``hand_out`` and ``swap_log`` are the scripts."""

    def __init__(self, url: str, prefix: str) -> None:
        try:
            import redis.asyncio
        except ImportError as error:
            raise ImportError("profiles in Redis need its client: pip install 'tribid[redis]'") from error
        if not prefix or not prefix.replace("-", "").replace("_", "").isalnum() or not prefix.isascii():
            raise ValueError(f"prefix is {prefix!r:.60}; allowed are letters, digits, - and _")
        self.keys = Keys(prefix)
        self.client: Any = redis.asyncio.Redis.from_pool(_pool(url))
        self.trouble = ""
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
        """Turns what the client raises into ``ProfilesUnavailableError``, and says it in ``trouble`` until Redis answers."""
        try:
            yield
        except self._errors as error:
            self.trouble = f"Redis cannot be used: {type(error).__name__}"
            raise ProfilesUnavailableError(f"{self.trouble}: {error}") from error
        self.trouble = ""

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


def _pool(url: str) -> Any:
    """Connections to a server, so many at most, for which whoever comes later waits; no error repeats the URL.

    Part of a password whose special characters are not escaped would be taken for the host, the port or the path, and told
    by the first error that names these.
    """
    from redis.asyncio import BlockingConnectionPool

    if not url.startswith(("redis://", "rediss://", "unix://")):
        raise ValueError("the URL of Redis begins otherwise; allowed is redis://, rediss:// or unix://")
    wrong = "the URL of Redis cannot be read; a password's special characters (such as / ? # @) are written as %2F and so on"
    try:
        parts = urlsplit(url)
        if "@" in parts.path + parts.query + parts.fragment or parts.netloc.count("@") > 1:
            raise ValueError
        pool: Any = BlockingConnectionPool.from_url(
            url, max_connections=MOST_CONNECTIONS, timeout=_WAIT_S, socket_timeout=10, socket_connect_timeout=5
        )
        pool.make_connection()  # not connected yet: this finds what the URL asks for and no connection knows
    except (ValueError, TypeError):
        raise ValueError(wrong) from None
    return pool
