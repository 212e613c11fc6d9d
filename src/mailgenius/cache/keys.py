"""The names of cached values on the server. Pure.

    lead:42                      region lead, key 42 (or "42": the same name)
    lead:%v2@acme:42             version 2 of the region, tenant acme
    lead:(BR,vip                 key ("BR", "vip")
    lead:#3f09…                  a key of more than 200 bytes, by its hash (BLAKE2b, 160 bits)
    lead:%{}{odd} key            a key that would be taken for one of the forms above, or holds a brace
    lead:({BR},vip  lead:%{42}   keys of a region that keeps together what begins with the same part
    lead:%{lead}v2@acme:42       key of a region that keeps all of its values together

No two (region, version, tenant, key) have the same name. No prefix of a region begins another's (``policy``). What follows
the prefix begins with ``%``, ``(`` or ``#`` only in the forms above; each of them says where its parts end: a tenant and
the parts of a tuple are escaped. And a plain key is the rest, as it is.

In a Redis Cluster, what stands in the first pair of braces decides where a key lives (``{}`` counts as none). Braces are
put by the policy alone (``together``): those of a key would let whoever chooses keys put them all on one node.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TypeAlias

from mailgenius._native import Namer

__all__ = ["MAX_KEY", "Key", "namer"]

#: What a value is asked for by. The parts of a tuple are never one: ("a", "b") is another key than ("a,b",).
Key: TypeAlias = str | int | tuple[str | int, ...]

MAX_KEY = 200  # bytes of a key, in its form on the server, beyond which it is hashed
_SHORT = MAX_KEY // 4  # characters: no more bytes than MAX_KEY
_MARKS = frozenset("%(#")
_ESCAPES = str.maketrans({char: f"%{ord(char):02X}" for char in "%#,:{}"})


def namer(
    prefix: str, version: int = 0, tenant: str | int | None = None, together: str = "key", region: str = ""
) -> Callable[[Key], str]:
    """The function that makes names of keys in one region, for one tenant.

    ``together``: whose values live on one node of a Cluster: "tenant", all of a tenant; "first", those whose keys begin
    with the same part; "region", all of the one called ``region``; "key": each by itself. The function raises TypeError
    for what is no key, ValueError for text that is not valid Unicode; so does this one for the tenant.
    """
    start = prefix
    if version or tenant is not None or together == "region":
        start += "%"
        if together == "region":
            start += f"{{{region}}}"
        if version:
            start += f"v{version}"
        if tenant is not None:
            owner = _tenant(tenant)
            start += f"@{{{owner}}}" if together == "tenant" else f"@{owner}"
        start += ":"
    if together == "first":
        return lambda key: start + _with_first(key)
    return Namer(start, _plain)


def _plain(key: Key) -> str:
    """A key's part of its name. (For short ASCII text and numbers of 64 bits, ``Namer`` does it by itself.)"""
    if isinstance(key, tuple):
        form = "(" + ",".join(_parts(key))
    else:
        form = _part(key)
        if form[:1] in _MARKS or "{" in form:
            form = "%{}" + form
    return form if len(form.encode()) <= MAX_KEY else f"#{_digest(form)}"


def _with_first(key: Key) -> str:
    """``(`` and a tuple, ``%`` and any other key; the first part in braces."""
    many = isinstance(key, tuple)
    first, *others = _parts(key if isinstance(key, tuple) else (key,))
    if len(first) > _SHORT:  # the same in both forms, or what begins with it would live on two nodes
        first = f"#{_digest(first)}"
    form = ("(" if many else "%") + ",".join([f"{{{first}}}", *others])
    return form if len(form.encode()) <= MAX_KEY else f"#{{{first}}}{_digest(form)}"


def _parts(key: tuple[str | int, ...]) -> list[str]:
    if not key:
        raise TypeError("an empty tuple is no key of a cache")
    return [_part(part).translate(_ESCAPES) for part in key]


def _tenant(tenant: str | int) -> str:
    owner = _part(tenant).translate(_ESCAPES)
    if not owner:
        raise ValueError("the tenant of a cache is not empty")
    return owner if len(owner) <= _SHORT else f"#{_digest(owner)}"


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=20).hexdigest()


def _part(value: object) -> str:
    if type(value) is str:
        return _text(value)
    if type(value) is int:
        return str(value)
    raise TypeError(
        f"a key of a cache is a str, an int, or a tuple of them, not {type(value).__name__}: convert it, so that it is"
        " plain what is the same"
    )


def _text(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{text!r} is no key of a cache: it holds half of a surrogate pair") from None
    return text
