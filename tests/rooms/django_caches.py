"""Django for tests: configured once for a process; caches made anew for each test."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

import django
from django.conf import settings
from django.core.cache import CacheHandler

from mailgenius.servers import ValkeyServer

__all__ = ["AsyncWay", "caches_of", "key_function", "one"]

if not settings.configured:
    settings.configure(
        ALLOWED_HOSTS=["testserver"],
        INSTALLED_APPS=["django.contrib.sessions"],
        SECRET_KEY="for tests",
        TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates"}],
        USE_TZ=True,
    )
    django.setup()


def key_function(key: str, prefix: str, version: int) -> str:
    return f"OWN-{prefix}-{version}-{key}"


def one(server: ValkeyServer, **params: Any) -> dict[str, Any]:
    """An entry of CACHES. Time enough for a busy machine, and errors that are seen, unless ``OPTIONS`` say otherwise."""
    options = {"budget": 5.0, "ignore_errors": False} | params.pop("OPTIONS", {})
    return {"BACKEND": "mailgenius.cache.django.Backend", "LOCATION": server.url, "OPTIONS": options} | params


def caches_of(server: ValkeyServer, **aliases: dict[str, Any]) -> Any:
    """``caches``, with these aliases and "default"."""
    return CacheHandler({alias: one(server, **params) for alias, params in ({"default": {}} | aliases).items()})


class AsyncWay:
    """A cache whose methods are the async ones, each in an event loop of its own, as ``async_to_sync`` makes them."""

    def __init__(self, cache: Any) -> None:
        self._cache = cache

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._cache, f"a{name}", None)
        if not inspect.iscoroutinefunction(method):
            return getattr(self._cache, name)

        def run(*args: Any, **keywords: Any) -> Any:
            async def call() -> Any:
                return await method(*args, **keywords)

            return asyncio.run(call())

        return run

    def __contains__(self, key: str) -> bool:
        return key in self._cache
