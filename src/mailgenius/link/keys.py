"""Which words of a command are its keys, so that it can be sent to the node of a Cluster that serves them. Pure.

Source: ``COMMAND`` of Valkey 9 and Redis 6.2, which the tests hold this table against. What a server knows and this table
does not (modules, newer commands) the server itself is asked about.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

__all__ = ["KEYS", "ONE", "Keys", "span", "streams"]

Command: TypeAlias = Sequence[Any]
Keys: TypeAlias = Callable[[Command], Sequence[Any]]  # the keys of a whole command

_ONE = """
    APPEND BITCOUNT BITFIELD BITFIELD_RO BITPOS DECR DECRBY DELIFEQ DUMP EXPIRE EXPIREAT EXPIRETIME GEOADD GEODIST GEOHASH
    GEOPOS GEORADIUSBYMEMBER_RO GEORADIUS_RO GEOSEARCH GET GETBIT GETDEL GETEX GETRANGE GETSET HDEL HEXISTS HEXPIRE
    HEXPIREAT HEXPIRETIME HGET HGETALL HGETDEL HGETEX HINCRBY HINCRBYFLOAT HKEYS HLEN HMGET HMSET HPERSIST HPEXPIRE
    HPEXPIREAT HPEXPIRETIME HPTTL HRANDFIELD HSCAN HSET HSETEX HSETNX HSTRLEN HTTL HVALS INCR INCRBY INCRBYFLOAT LINDEX
    LINSERT LLEN LPOP LPOS LPUSH LPUSHX LRANGE LREM LSET LTRIM MOVE PERSIST PEXPIRE PEXPIREAT PEXPIRETIME PFADD PSETEX PTTL
    RESTORE RESTORE-ASKING RPOP RPUSH RPUSHX SADD SCARD SET SETBIT SETEX SETNX SETRANGE SISMEMBER SMEMBERS SMISMEMBER SPOP
    SPUBLISH SRANDMEMBER SREM SSCAN STRLEN SUBSTR TTL TYPE XACK XADD XAUTOCLAIM XCLAIM XDEL XLEN XPENDING XRANGE XREVRANGE
    XSETID XTRIM ZADD ZCARD ZCOUNT ZINCRBY ZLEXCOUNT ZMSCORE ZPOPMAX ZPOPMIN ZRANDMEMBER ZRANGE ZRANGEBYLEX ZRANGEBYSCORE
    ZRANK ZREM ZREMRANGEBYLEX ZREMRANGEBYRANK ZREMRANGEBYSCORE ZREVRANGE ZREVRANGEBYLEX ZREVRANGEBYSCORE ZREVRANK ZSCAN
    ZSCORE
"""
_NONE = """
    ACL ASKING AUTH BGREWRITEAOF BGSAVE CLIENT CLUSTER COMMAND COMMANDLOG CONFIG DBSIZE DEBUG DISCARD ECHO EXEC FAILOVER
    FLUSHALL FLUSHDB FUNCTION HELLO INFO KEYS LASTSAVE LATENCY LOLWUT MODULE MONITOR MULTI PFSELFTEST PING PSUBSCRIBE PSYNC
    PUBLISH PUBSUB PUNSUBSCRIBE QUIT RANDOMKEY READONLY READWRITE REPLCONF REPLICAOF RESET ROLE SAVE SCAN SCRIPT SELECT
    SHUTDOWN SLAVEOF SLOWLOG SUBSCRIBE SWAPDB SYNC TIME UNSUBSCRIBE UNWATCH WAIT WAITAOF
"""
_ALL = """
    DEL EXISTS MGET PFCOUNT PFMERGE SDIFF SDIFFSTORE SINTER SINTERSTORE SSUBSCRIBE SUNION SUNIONSTORE SUNSUBSCRIBE TOUCH
    UNLINK WATCH
"""
_TWO = "BLMOVE BRPOPLPUSH COPY GEOSEARCHSTORE LCS LMOVE RENAME RENAMENX RPOPLPUSH SMOVE ZRANGESTORE"


#: Commands whose only key is their first argument.
ONE = frozenset(_ONE.split())


def span(first: int, last: int, step: int = 1) -> Keys:
    """As ``COMMAND INFO`` gives it; a negative ``last`` counts from the end."""

    def keys(command: Command) -> Sequence[Any]:
        return command[first : (len(command) + last if last < 0 else last) + 1 : step]

    return keys


def _none(_: Command) -> Sequence[Any]:
    return ()


def _counted(at: int, *, into: bool = False, step: int = 1) -> Keys:
    """Their number is word ``at``, and they follow it. ``into``: the first argument is one too."""

    def keys(command: Command) -> Sequence[Any]:
        try:
            count = max(int(command[at]), 0)
        except (IndexError, TypeError, ValueError):
            return ()  # the server says what is wrong
        found = command[at + 1 : at + 1 + count * step : step]
        return (command[1], *found) if into else found

    return keys


def _second(*words: str) -> Keys:
    """The second argument, after one of ``words``, or after any if there are none."""

    def keys(command: Command) -> Sequence[Any]:
        return command[2:3] if not words or (len(command) > 2 and _word(command[1]) in words) else ()

    return keys


def _stored(*words: str, first: int) -> Keys:
    """The first argument, and what follows one of ``words``, which stand behind the arguments before ``first``."""

    def keys(command: Command) -> Sequence[Any]:
        return (
            *command[1:2],
            *(command[at + 1] for at in range(first, len(command) - 1) if _word(command[at]) in words),
        )

    return keys


def streams(command: Command) -> Sequence[Any]:
    """The first half of what follows STREAMS (which may also be the name of a group or consumer)."""
    for at in range(4 if _word(command[0]) == "XREADGROUP" else 1, len(command)):
        if _word(command[at]) == "STREAMS":
            rest = command[at + 1 :]
            return rest[: (len(rest) + 1) // 2]
    return ()


def _migrated(command: Command) -> Sequence[Any]:
    if len(command) > 3 and _word(command[3]):
        return command[3:4]
    for at in range(len(command) - 1, 5, -1):
        if _word(command[at]) == "KEYS":
            return command[at + 1 :]
    return ()


def _word(word: Any) -> str:
    if isinstance(word, bytes | bytearray | memoryview):
        return bytes(word).decode("ascii", "replace").upper()
    return str(word).upper()


#: The others.
KEYS: dict[str, Keys] = {
    **dict.fromkeys(_NONE.split(), _none),
    **dict.fromkeys(_ALL.split(), span(1, -1)),
    **dict.fromkeys(_TWO.split(), span(1, 2)),
    **dict.fromkeys(("MSET", "MSETNX"), span(1, -1, 2)),
    **dict.fromkeys(("BLPOP", "BRPOP", "BZPOPMAX", "BZPOPMIN"), span(1, -2)),
    **dict.fromkeys(("LMPOP", "SINTERCARD", "ZDIFF", "ZINTER", "ZINTERCARD", "ZMPOP", "ZUNION"), _counted(1)),
    **dict.fromkeys(("BLMPOP", "BZMPOP", "EVAL", "EVALSHA", "EVALSHA_RO", "EVAL_RO", "FCALL", "FCALL_RO"), _counted(2)),
    **dict.fromkeys(("ZDIFFSTORE", "ZINTERSTORE", "ZUNIONSTORE"), _counted(2, into=True)),
    "MSETEX": _counted(1, step=2),
    "BITOP": span(2, -1),
    "MEMORY": _second("USAGE"),
    **dict.fromkeys(("OBJECT", "XGROUP", "XINFO"), _second()),
    **dict.fromkeys(("XREAD", "XREADGROUP"), streams),
    "SORT": _stored("STORE", first=2),
    "SORT_RO": span(1, 1),
    "GEORADIUS": _stored("STORE", "STOREDIST", first=6),
    "GEORADIUSBYMEMBER": _stored("STORE", "STOREDIST", first=5),
    "MIGRATE": _migrated,
}
