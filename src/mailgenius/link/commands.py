"""What is known of commands: which may run twice, which take long, which need a connection of their own, where their keys
are. Pure.

Source: the commands' own flags and documentation (https://valkey.io/commands). A command that is not here is taken for one
that changes something and takes no longer than others.
"""

from __future__ import annotations

from collections.abc import Iterator

from mailgenius.link.keys import KEYS, ONE, Keys, streams

__all__ = ["WORDS", "Kind", "everywhere", "kind", "name", "of_one_node"]


class Kind:
    """What is known of one command."""

    __slots__ = ("again", "key", "keys", "own", "read", "slow")

    def __init__(self, again: bool, slow: bool, own: bool, key: int = 0, keys: Keys | None = None) -> None:
        self.again = again  # run twice, it does no more than run once: it may be sent anew when its reply was lost
        self.slow = slow  # may take long by nature: RedisSettings.slow_timeout
        self.own = own  # waits, or changes the state of its connection: not on a shared one
        self.key = key  # which word is its only key; 0: see ``keys``
        self.keys = keys  # finds them; None: they are not known here
        self.read = again and (key > 0 or keys is not None)  # a replica can answer it, if it has keys


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
    return {
        word: Kind(word in reads, word in slow, word in own, int(word in ONE), KEYS.get(word))
        for word in reads | slow | own | ONE | KEYS.keys()
    }


#: Commands whose arguments decide.
_DEPENDS = {"CLIENT", "XREAD", "XREADGROUP"}
_KINDS = _table()
_OTHER = Kind(False, False, False)
_CLIENT, _CLIENT_OWN = (Kind(False, False, own, keys=KEYS["CLIENT"]) for own in (False, True))
_XREAD, _XREADGROUP, _XREAD_OWN = (
    Kind(True, False, False, keys=streams),
    Kind(False, False, False, keys=streams),
    Kind(False, False, True, keys=streams),
)
#: Known by any spelling that is used for commands, so that a look-up finds most without a conversion.
WORDS: dict[object, Kind] = {
    spelling: known
    for word, known in _KINDS.items()
    if word not in _DEPENDS
    for spelling in (word, word.lower(), word.encode())
}
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
        raise ValueError("an empty Redis command: give its name and its arguments")
    word = name(command[0])
    if word not in _DEPENDS:
        known = _KINDS.get(word, _OTHER)
        if isinstance(command[0], str | bytes) and len(WORDS) < _MOST:
            WORDS[command[0]] = known
        return known
    words = [name(word) for word in _before_streams(command[1:])]
    if word == "CLIENT":
        return _CLIENT_OWN if words and words[0] in ("REPLY", "TRACKING", "CACHING") else _CLIENT
    if "BLOCK" in words:
        return _XREAD_OWN
    return _XREAD if word == "XREAD" else _XREADGROUP


def _before_streams(words: tuple[object, ...]) -> Iterator[object]:
    for word in words[:8]:
        if name(word) == "STREAMS":
            return
        yield word


_EVERYWHERE = {"FLUSHALL", "FLUSHDB"}
_EVERYWHERE_BY = {"SCRIPT": {"LOAD", "FLUSH"}, "FUNCTION": {"LOAD", "DELETE", "FLUSH", "RESTORE"}}
_OF_ONE_NODE = """
    ACL BGREWRITEAOF BGSAVE CLIENT COMMANDLOG CONFIG DBSIZE DEBUG FAILOVER INFO KEYS LASTSAVE LATENCY MEMORY MODULE PUBSUB
    RANDOMKEY REPLICAOF ROLE SAVE SCAN SLAVEOF SLOWLOG
"""


def everywhere(command: tuple[object, ...]) -> bool:
    """Does a command without keys have to go to every master of a Cluster?"""
    word = name(command[0])
    return word in _EVERYWHERE or (len(command) > 1 and name(command[1]) in _EVERYWHERE_BY.get(word, ()))


def of_one_node(command: tuple[object, ...]) -> bool:
    """Does a command without keys speak of the node that it is sent to, so that the caller has to say which?"""
    return name(command[0]) in _OF_ONE_NODE.split()
