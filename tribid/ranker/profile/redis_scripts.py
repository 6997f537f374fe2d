"""The names of a store's keys in Redis, and the scripts that change several of them at once.

Of a prefix ``tribid``, whose braces keep all keys on one node of a cluster:

    {tribid}:salt            32 random bytes: names users in everything that is no profile, and messages
    {tribid}:user:USER       hash: rev, counted up by every change, and body, the record as msgpack
    {tribid}:gone:TOKEN      when the data of the user of this token were erased; expires
    {tribid}:gone_ids:TOKEN  set of salted hashes of the events that were erased with them; expires
    {tribid}:due             sorted set of users by when their first waiting message is due
    {tribid}:outbox          sorted set of message ids by when they may be handed out
    {tribid}:owner           hash: message id -> user
    {tribid}:want:ITEM       set of users who showed interest in an item
    {tribid}:move:ITEM       hash: the newest changes of an item's stock; expires
    {tribid}:newest          hash: item -> the newest change of its stock
    {tribid}:moved           how many changes of the stock there were
    {tribid}:moves           stream of changes that are to be spread; the group ``triggers`` shares them among servers
    {tribid}:log             stream of the events that were counted, users by their tokens
"""

GROUP = b"triggers"

COMMIT = """
-- KEYS: user, gone, due, outbox, owner, log, moved.
-- ARGV: rev, gone, body, due or '', user, prefix, changes as msgpack, moved.
if (redis.call('HGET', KEYS[1], 'rev') or '0') ~= ARGV[1] or (redis.call('GET', KEYS[2]) or '') ~= ARGV[2] then
  return 0
end
-- Whoever shows interest in an item while it changes is told of it here, or found in its set by who spreads the change.
if (redis.call('GET', KEYS[7]) or '0') ~= ARGV[8] then
  return 0
end
redis.call('HSET', KEYS[1], 'rev', string.format('%.0f', ARGV[1] + 1), 'body', ARGV[3])
if ARGV[4] == '' then
  redis.call('ZREM', KEYS[3], ARGV[5])
else
  redis.call('ZADD', KEYS[3], ARGV[4], ARGV[5])
end
local changes = cmsgpack.unpack(ARGV[7])
for _, one in ipairs(changes.made) do
  redis.call('ZADD', KEYS[4], one[2], one[1])
  redis.call('HSET', KEYS[5], one[1], ARGV[5])
end
for _, id in ipairs(changes.done) do
  redis.call('ZREM', KEYS[4], id)
  redis.call('HDEL', KEYS[5], id)
end
for _, item in ipairs(changes.wants) do
  redis.call('SADD', ARGV[6] .. ':want:' .. item, ARGV[5])
end
for _, item in ipairs(changes.wants_no_more) do
  redis.call('SREM', ARGV[6] .. ':want:' .. item, ARGV[5])
end
for _, fields in ipairs(changes.log) do
  redis.call('XADD', KEYS[6], 'MAXLEN', '~', changes.log_length, '*', unpack(fields))
end
return 1
"""
"""Keep a changed record if nobody changed it meanwhile: 1, or 0 and nothing."""

ERASE = """
-- KEYS: user, gone, due, outbox, owner, gone_ids.
-- ARGV: rev, erased at, its expiry, user, prefix, ids and items as msgpack, and then every event.
if (redis.call('HGET', KEYS[1], 'rev') or '0') ~= ARGV[1] then
  return 0
end
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
redis.call('ZREM', KEYS[3], ARGV[4])
local held = cmsgpack.unpack(ARGV[6])
for _, id in ipairs(held.ids) do
  redis.call('ZREM', KEYS[4], id)
  redis.call('HDEL', KEYS[5], id)
end
for _, item in ipairs(held.items) do
  redis.call('SREM', ARGV[5] .. ':want:' .. item, ARGV[4])
end
for place = 7, #ARGV do
  redis.call('SADD', KEYS[6], ARGV[place])
end
redis.call('PEXPIRE', KEYS[6], ARGV[3])
return 1
"""
"""Remove a user if nobody changed their record meanwhile: 1, or 0 and nothing."""

MOVE = """
-- KEYS: moves of the item, stream, moved, newest.
-- ARGV: field, move, how many to keep, their expiry, item, the newest as it was ('' for none), the newest as it is now.
if (redis.call('HGET', KEYS[4], ARGV[5]) or '') ~= ARGV[6] then
  return 0
end
if redis.call('HSETNX', KEYS[1], ARGV[1], ARGV[2]) == 0 then
  return 1
end
redis.call('HSET', KEYS[4], ARGV[5], ARGV[7])
local fields = redis.call('HKEYS', KEYS[1])
if #fields > tonumber(ARGV[3]) then
  table.sort(fields)
  redis.call('HDEL', KEYS[1], fields[1])
end
redis.call('PEXPIRE', KEYS[1], ARGV[4])
redis.call('INCR', KEYS[3])
redis.call('XADD', KEYS[2], '*', 'move', ARGV[2])
return 1
"""
"""Learn of a change of the stock, once, if the newest one is still what it was judged by: 1, or 0 and nothing.

Fields are of one length, so that their order is that of the changes.
"""

HAND_OUT = """
-- KEYS: outbox, owner. ARGV: now, when to hand out again, how many.
local found = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, ARGV[3])) do
  redis.call('ZADD', KEYS[1], ARGV[2], id)
  found[#found + 1] = {id, redis.call('HGET', KEYS[2], id)}
end
return found
"""
"""Message ids and their users, each not to be handed out again before a time."""

SWAP_LOG = """
-- KEYS: log, copy, lock. ARGV: where what was not copied begins, the token to leave out, whose lock it must be.
if redis.call('GET', KEYS[3]) ~= ARGV[3] then
  return redis.error_reply('the copy of the log took too long')
end
for _, entry in ipairs(redis.call('XRANGE', KEYS[1], ARGV[1], '+')) do
  if entry[2][2] ~= ARGV[2] then
    redis.call('XADD', KEYS[2], entry[1], unpack(entry[2]))
  end
end
for _, told in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  local group = {}
  for place = 1, #told, 2 do
    group[told[place]] = told[place + 1]
  end
  redis.call('XGROUP', 'CREATE', KEYS[2], group['name'], group['last-delivered-id'], 'MKSTREAM')
end
if redis.call('EXISTS', KEYS[2]) == 1 then
  redis.call('RENAME', KEYS[2], KEYS[1])
else
  redis.call('DEL', KEYS[1])
end
return 1
"""
"""Put a copy of the log in its place, with what was added meanwhile; an entry's first value is its user's token."""


class Keys:
    """The names of a store's keys."""

    def __init__(self, prefix: str) -> None:
        self.prefix = f"{{{prefix}}}"
        for name in ("salt", "due", "outbox", "owner", "moved", "moves", "newest", "log"):
            setattr(self, name, f"{self.prefix}:{name}")

    salt: str
    due: str
    outbox: str
    owner: str
    moved: str
    moves: str
    newest: str
    log: str

    def user(self, user: str) -> str:
        """A user's record."""
        return f"{self.prefix}:user:{user}"

    def gone(self, token: str) -> str:
        """When a user's data were erased."""
        return f"{self.prefix}:gone:{token}"

    def gone_ids(self, token: str) -> str:
        """The events that were erased with them."""
        return f"{self.prefix}:gone_ids:{token}"

    def want(self, item: int) -> str:
        """Who showed interest in an item."""
        return f"{self.prefix}:want:{item}"

    def move(self, item: int) -> str:
        """The newest changes of an item's stock."""
        return f"{self.prefix}:move:{item}"
