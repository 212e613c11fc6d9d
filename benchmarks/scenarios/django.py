"""Django's cache over Redis: our backend beside Django's own and django-redis, one thread, one server, runs in turns.

Values are texts of 1 KB. The others pickle; ours stores a form of its own, with a checksum that covers the key.
"""

from __future__ import annotations

import tempfile
from time import perf_counter
from typing import TYPE_CHECKING, Any

from benchmarks.results import calls as named
from mailgenius.servers import valkey

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.results import Results
    from benchmarks.room import Room

    from . import Options

OURS = "mailgenius"
BACKENDS = {
    OURS: "mailgenius.cache.django.Backend",
    "Django's own": "django.core.cache.backends.redis.RedisCache",
    "django-redis": "django_redis.cache.RedisCache",
}
VALUE = "x" * 1024


def measure(room: Room | None, options: Options, results: Results) -> None:
    from django.conf import settings
    from django.core.cache import CacheHandler

    results.forget("django")
    if not settings.configured:
        settings.configure(USE_TZ=True)
    with tempfile.TemporaryDirectory() as folder, valkey(folder, port=0, settings={"requirepass": ""}) as server:
        url = f"redis://127.0.0.1:{server.url.rpartition(':')[2]}"
        made: dict[str, dict[str, Any]] = {
            name: {"BACKEND": path, "LOCATION": url, "KEY_PREFIX": name.replace(" ", "")}
            for name, path in BACKENDS.items()
            if options.peers or name == OURS
        }
        made[OURS]["OPTIONS"] = {"budget": 10.0, "ignore_errors": False}
        caches = CacheHandler({"default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}} | made)
        found: dict[str, list[float]] = {}
        for turn in range(options.runs + 3):  # the first one warms up
            for question, (do, count) in _questions(200 if options.quick else 4000).items():
                for name in made:
                    speed = _rate(do(caches[name]), count)
                    runs = found.setdefault(named("django", question, 1, name), [])
                    if turn:
                        runs.append(speed)
            options.say(f"  turn {turn} of {options.runs + 2}")
        caches.close_all()
    for name, rates in found.items():
        results.put(name, rates, "/s", command=options.command("django"))


def _questions(work: int) -> dict[str, tuple[Callable[[Any], Callable[[], Any]], int]]:
    keys = [f"many:{number}" for number in range(100)]
    many = dict.fromkeys(keys, VALUE)
    return {
        "set": (lambda cache: lambda: cache.set("key", VALUE, 3600), work),
        "get": (lambda cache: lambda: cache.get("key"), work),
        "set_many(100)": (lambda cache: lambda: cache.set_many(many, 3600), work // 40),
        "get_many(100)": (lambda cache: lambda: cache.get_many(keys), work // 10),
    }


def _rate(do: Callable[[], Any], count: int) -> float:
    """Calls a second."""
    began = perf_counter()
    for _ in range(count):
        do()
    return count / (perf_counter() - began)
