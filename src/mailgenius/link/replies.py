"""What comes back: replies of the server as values, its refusals as errors, and pushes, which nobody asked for. Pure."""

from __future__ import annotations

from typing import Any

from mailgenius._native import RespReader
from mailgenius.errors import RedisRefused

__all__ = ["NOT_YET", "Lost", "Push", "reader", "whole"]

NOT_YET: Any = object()  # what a reader gives while there is no whole reply


class Push(list[Any]):
    """What the server sends unasked."""


class Lost(Exception):
    """A connection is gone. ``sent``: what waited for a reply may have been carried out; ``since``: when that began, of
    the monotonic clock, 0 if it had not."""

    def __init__(self, why: str, *, sent: bool, since: float = 0.0) -> None:
        super().__init__(why)
        self.why = why
        self.sent = sent
        self.since = since


def reader() -> RespReader:
    return RespReader(RedisRefused, Push, NOT_YET)


def whole(replies: list[Any], atomic: bool) -> list[Any]:
    """The replies to the commands themselves; of a transaction, those that EXEC brought."""
    if not atomic:
        return replies
    last = replies[-1]
    if isinstance(last, RedisRefused):
        raise next((reply for reply in replies if isinstance(reply, RedisRefused)), last)
    found: list[Any] = last
    return found
