"""What a worker does with jobs of a name: the function, how it is called, how many at once. Pure."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from typing import Any, Literal

import msgspec

from mailgenius.errors import ConfigError

__all__ = ["Handler", "Kind", "define"]

Kind = Literal["loop", "threads", "processes"]


class Handler:
    """Made by ``define``."""

    __slots__ = ("concurrency", "decode", "function", "keep_result", "kind", "name", "takes_job", "timeout")

    def __init__(
        self,
        name: str,
        function: Callable[..., Any],
        kind: Kind,
        decode: Callable[[bytes], Any],
        takes_job: bool,
        concurrency: int | None,
        timeout: float | None,
        keep_result: float | None,
    ) -> None:
        self.name, self.function, self.kind = name, function, kind
        self.decode = decode  # payload as bytes -> what the function wants
        self.takes_job = takes_job
        self.concurrency = concurrency  # None: it shares the worker's
        self.timeout, self.keep_result = timeout, keep_result


def define(
    name: str,
    function: Callable[..., Any],
    *,
    process: bool = False,
    concurrency: int | None = None,
    timeout: float | None = None,
    keep_result: float | None = None,
) -> Handler:
    """Reads a function's signature: ``(payload)`` or ``(payload, job)``; the payload is decoded to the type of the first
    parameter. Raises ``ConfigError``."""
    where = f"$.worker.handler[{name!r}]"
    if not name or len(name.encode()) > 255:
        raise ConfigError(f"{where}: the name of a job has 1 to 255 bytes")
    for what, value, least in (
        ("concurrency", concurrency, 1),
        ("timeout", timeout, 0.001),
        ("keep_result", keep_result, 0),
    ):
        if value is not None and value < least:
            raise ConfigError(f"{where}.{what}: {value} is out of range; give at least {least}")
    is_async = inspect.iscoroutinefunction(function)
    if process and is_async:
        raise ConfigError(f"{where}: process=True needs a plain def function: a process runs one job at a time")
    places = [
        parameter
        for parameter in inspect.signature(function).parameters.values()
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD, parameter.VAR_POSITIONAL)
        and parameter.default is parameter.empty
    ]
    several = any(parameter.kind is parameter.VAR_POSITIONAL for parameter in places)
    if not places or (len(places) > 2 and not several):
        raise ConfigError(f"{where}: takes {len(places)} arguments; give it (payload) or (payload, job)")
    return Handler(
        name,
        function,
        "processes" if process else "loop" if is_async else "threads",
        msgspec.msgpack.Decoder(_payload(where, function, places[0].name)).decode,
        len(places) > 1,
        concurrency,
        timeout,
        keep_result,
    )


def _payload(where: str, function: Callable[..., Any], parameter: str) -> Any:
    try:
        hints = typing.get_type_hints(function, include_extras=True)
    except NameError as error:
        raise ConfigError(f"{where}: the type of {parameter} cannot be found: {error}") from error
    wanted = hints.get(parameter, Any)
    try:
        msgspec.msgpack.Decoder(wanted)
    except TypeError as error:
        raise ConfigError(f"{where}: msgspec cannot decode to the type of {parameter}: {error}") from error
    return wanted
