"""Settings from keywords. Pure."""

from __future__ import annotations

from typing import Any

from mailgenius.config import RedisSettings
from mailgenius.errors import ConfigError

__all__ = ["chosen_settings"]


def chosen_settings(settings: RedisSettings | None, chosen: dict[str, Any]) -> RedisSettings:
    """``settings`` (the defaults) with what was chosen besides. Raises ``ConfigError``."""
    base = RedisSettings() if settings is None else settings
    for name in chosen:
        if name not in base.__struct_fields__:
            raise ConfigError(f"$.redis.{name}: unknown setting; see RedisSettings")
    return RedisSettings(**({name: getattr(base, name) for name in base.__struct_fields__} | chosen))
