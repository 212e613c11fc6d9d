"""What is known of commands: which may run twice, which take long, which need a connection of their own. Pure.

Source: the commands' own flags and documentation (https://valkey.io/commands). A command that is not here is taken for one
that changes something and takes no longer than others.
"""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["WORDS", "Kind", "kind", "name"]


class Kind:
    """What is known of one command."""

    __slots__ = ("again", "own", "slow")

    def __init__(self, again: bool, slow: bool, own: bool) -> None:
        self.again = again  # run twice, it does no more than run once: it may be sent anew when its reply was lost
        self.slow = slow  # may take long by nature: RedisSettings.slow_timeout
        self.own = own  # waits, or changes the state of its connection: not on a shared one


# Read nothing but what is there, and change nothing; or tell the server what it knows already.
_READS = """
    BITCOUNT BITFIELD_RO BITPOS DBSIZE DUMP ECHO EVALSHA_RO EVAL_RO EXISTS EXPIRETIME FCALL_RO GEODIST GEOHASH GEOPOS
    GEORADIUSBYMEMBER_RO GEORADIUS_RO GEOSEARCH GET GETBIT GETRANGE HEXISTS HGET HGETALL HKEYS HLEN HMGET HRANDFIELD
    HSCAN HSTRLEN HVALS INFO KEYS LASTSAVE LCS LINDEX LLEN LPOS LRANGE MEMORY MGET OBJECT PEXPIRETIME PFCOUNT PING PTTL
    RANDOMKEY ROLE SCAN SCARD SCRIPT SDIFF SINTER SINTERCARD SISMEMBER SMEMBERS SMISMEMBER SORT_RO SRANDMEMBER SSCAN
    STRLEN SUBSTR SUNION TIME TTL TYPE XINFO XLEN XPENDING XRANGE XREVRANGE ZCARD ZCOUNT ZDIFF ZINTER ZINTERCARD
    ZLEXCOUNT ZMSCORE ZRANDMEMBER ZRANGE ZRANGEBYLEX ZRANGEBYSCORE ZRANK ZREVRANGE ZREVRANGEBYLEX ZREVRANGEBYSCORE
    ZREVRANK ZSCAN ZSCORE ZUNION
"""
_SLOW = """
    DEBUG EVAL EVALSHA EVALSHA_RO EVAL_RO FCALL FCALL_RO FLUSHALL FLUSHDB FUNCTION KEYS MEMORY MIGRATE RESTORE SAVE SCRIPT
    SORT SORT_RO
"""
_OWNS = """
    BLMOVE BLMPOP BLPOP BRPOP BRPOPLPUSH BZMPOP BZPOPMAX BZPOPMIN WAIT WAITAOF
    MONITOR PSUBSCRIBE PSYNC PUNSUBSCRIBE SSUBSCRIBE SUBSCRIBE SUNSUBSCRIBE SYNC UNSUBSCRIBE
    ASKING AUTH DISCARD EXEC HELLO MULTI QUIT READONLY READWRITE RESET SELECT SHUTDOWN UNWATCH WATCH
"""


def _table() -> dict[str, Kind]:
    reads, slow, own = (set(words.split()) for words in (_READS, _SLOW, _OWNS))
    return {word: Kind(word in reads, word in slow, word in own) for word in reads | slow | own}


_KINDS = _table()
_OTHER = Kind(False, False, False)
_READ = Kind(True, False, False)
_OWN = Kind(False, False, True)
#: Known by any spelling that is used for commands, so that a look-up finds most without a conversion.
WORDS: dict[object, Kind] = {
    spelling: known for word, known in _KINDS.items() for spelling in (word, word.lower(), word.encode())
}


#: Commands whose arguments decide.
_DEPENDS = {"CLIENT", "XREAD", "XREADGROUP"}
_MOST = 4096  # spellings that are remembered


def name(word: object) -> str:
    """GET, of ``"get"`` or ``b"GET"``."""
    if isinstance(word, str):
        return word.upper()
    if isinstance(word, bytes | bytearray | memoryview):
        return bytes(word).decode("ascii", "replace").upper()
    return str(word).upper()


def kind(command: tuple[object, ...]) -> Kind:
    """Of a command with its arguments, whose first word is not in ``WORDS`` yet."""
    if not command:
        raise ValueError("an empty Redis command")
    word = name(command[0])
    if word not in _DEPENDS:
        known = _KINDS.get(word, _OTHER)
        if isinstance(command[0], str | bytes) and len(WORDS) < _MOST:
            WORDS[command[0]] = known
        return known
    words = [name(word) for word in _before_streams(command[1:])]
    if word == "CLIENT":
        return _OWN if words and words[0] in ("REPLY", "TRACKING", "CACHING") else _OTHER
    if "BLOCK" in words:
        return _OWN
    return _READ if word == "XREAD" else _OTHER


def _before_streams(words: tuple[object, ...]) -> Iterator[object]:
    for word in words[:8]:
        if name(word) == "STREAMS":
            return
        yield word
