"""Log lines on standard output, with time: JSON for machines, text for people."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from typing import Any

import msgspec

__all__ = ["FORMATS", "JsonLines", "TextLines", "log_to_stdout"]

FORMATS = ("json", "text")
# What every record has; anything else was given with `extra`.
_COMMON = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
_encode = msgspec.json.Encoder(enc_hook=repr).encode


def _more(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in record.__dict__.items() if name not in _COMMON}


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class JsonLines(logging.Formatter):
    """An object for each record: time (RFC 3339, UTC), level, logger, message, pid, what was given with ``extra``, and the
    traceback if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "pid": record.process,
            **_more(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        try:
            return _encode(line).decode()
        except (TypeError, ValueError, msgspec.MsgspecError):  # keys that are no text, numbers that are none
            return _encode({name: repr(value) for name, value in line.items()}).decode()


class TextLines(logging.Formatter):
    """``2026-01-31T12:00:00.000Z INFO [1234] message name=value``."""

    def format(self, record: logging.LogRecord) -> str:
        more = "".join(f" {name}={value}" for name, value in _more(record).items())
        text = f"{_time(record)} {record.levelname} [{record.process}] {record.getMessage()}{more}"
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return text


def log_to_stdout(form: str, level: int = logging.INFO) -> None:
    """Sends all that is logged in this process there."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonLines() if form == "json" else TextLines())
    logging.basicConfig(handlers=[handler], level=level, force=True)
