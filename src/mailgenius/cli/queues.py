"""``mailgenius queue``."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec
from rich.text import Text

from mailgenius.cli import queue_render as render
from mailgenius.cli.exits import Exit
from mailgenius.cli.queue_top import top
from mailgenius.cli.text import number
from mailgenius.config import load
from mailgenius.errors import ConfigError, NotFound
from mailgenius.link import Redis
from mailgenius.queue import Queue, ShardedQueue

if TYPE_CHECKING:
    import argparse

    from mailgenius.cli.terminal import Terminal
    from mailgenius.queue.states import StateName

    AnyQueue: TypeAlias = Queue | ShardedQueue

__all__ = ["names", "run"]


def run(args: argparse.Namespace, terminal: Terminal) -> int:
    with _redis(args) as redis:
        if args.action in ("ls", "top"):
            wanted = getattr(args, "queues", None)
            if args.action == "top":
                top(lambda: [_queue(redis, name) for name in wanted or names(redis)], args.interval, terminal)
                return Exit.DONE
            counts = {name: _queue(redis, name).counts() for name in names(redis)}
            terminal.show(render.queues(counts))
            terminal.document(msgspec.to_builtins(counts))
            return Exit.DONE
        if args.action == "resize":
            changed = ShardedQueue(redis, args.queue, shards=args.shards, unsafe=True).resize()
            text = f"{args.queue} has {args.shards} shard{'s' * (args.shards != 1)}{'' if changed else ' already'}"
            _say(terminal, text, shards=args.shards, changed=changed)
            return Exit.DONE
        _ACTIONS[args.action](_queue(redis, args.queue), args, terminal)
    return Exit.DONE


@contextlib.contextmanager
def _redis(args: argparse.Namespace) -> Iterator[Redis]:
    more = {} if args.home is None else {"home": args.home}
    settings = load(redis_url=args.redis, **more)
    with contextlib.ExitStack() as stack:
        url = settings.redis_url
        if url is None:
            from mailgenius.app.starting import embedded_redis  # late: who has a Redis needs none

            server = embedded_redis(settings)
            server.start()
            stack.callback(server.close)
            url = server.url
        yield stack.enter_context(Redis(url, settings=settings.redis))


def _queue(redis: Redis, name: str) -> AnyQueue:
    """With as many shards as it has. Looking is safe anywhere."""
    queue = Queue(redis, name, unsafe=True)
    shards = queue._count_shards("ask")
    return queue if shards < 2 else ShardedQueue(redis, name, shards=shards, unsafe=True)


def names(redis: Redis) -> list[str]:
    """Queues that the server knows. It is asked for a part of its keys at a time."""
    found = set()
    for node in redis.primaries():
        cursor = b"0"
        while True:
            cursor, keys = node.call("SCAN", cursor, "MATCH", "mg:{*}:q", "COUNT", 1000)
            found |= {key.decode(errors="replace")[4:-3].partition(" ")[0] for key in keys}  # shards have a space
            if int(cursor) == 0:
                break
    return sorted(found)


def _counts(queue: AnyQueue, args: argparse.Namespace, terminal: Terminal) -> None:
    counts = queue.counts()
    terminal.show(render.counts(queue.name, counts))
    terminal.document(msgspec.to_builtins(counts))


def _show(queue: AnyQueue, args: argparse.Namespace, terminal: Terminal) -> None:
    job = queue.show(args.id)
    if job is None:
        raise NotFound(f"there is no job {args.id} in {queue.name!r}, or nothing of it was kept")
    terminal.show(render.card(job))
    terminal.document(msgspec.to_builtins(job))


def _jobs(queue: AnyQueue, args: argparse.Namespace, terminal: Terminal) -> None:
    state: StateName = "failed" if args.action == "failed" else args.state
    page = queue.page(state, min(args.limit, 1000), after=args.after, name=args.name)
    terminal.show(render.jobs(page.jobs, state))
    if page.after is not None:
        terminal.show(Text(f"more with --after {page.after}", style="dim"))
    terminal.document(msgspec.to_builtins(page))


def _retry(queue: AnyQueue, args: argparse.Namespace, terminal: Terminal) -> None:
    if bool(args.ids) == args.all:
        raise ConfigError("$.queue.retry: give ids, or --all")
    count = queue.retry(None if args.all else args.ids)
    if args.ids and not count:
        raise NotFound(f"{queue.name!r} has no failed job of these ids")
    _say(terminal, f"{number(count)} jobs start anew", retried=count)


def _remove(queue: AnyQueue, args: argparse.Namespace, terminal: Terminal) -> None:
    states = queue.remove(args.ids)
    removed = {id: state for id, state in states.items() if state}
    if not removed:
        raise NotFound(f"{queue.name!r} has no job of these ids that could be removed")
    _say(terminal, f"{number(len(removed))} jobs removed", removed=removed)


def _promote(queue: AnyQueue, args: argparse.Namespace, terminal: Terminal) -> None:
    count = queue.promote(args.ids)
    if not count:
        raise NotFound(f"{queue.name!r} has no delayed job of these ids")
    _say(terminal, f"{number(count)} jobs start now", promoted=count)


def _pause(queue: AnyQueue, args: argparse.Namespace, terminal: Terminal) -> None:
    what = f"group {args.group} of {queue.name}" if args.group else queue.name
    if args.action == "pause":
        changed, now, before = queue.pause(args.group), "paused", "was paused already"
    else:
        changed, now, before = queue.resume(args.group), "goes on", "was not paused"
    _say(terminal, f"{what}: {now if changed else before}", changed=changed)


def _drain(queue: AnyQueue, args: argparse.Namespace, terminal: Terminal) -> None:
    count = queue.drain(args.delayed)
    _say(terminal, f"{number(count)} jobs removed", removed=count)


def _clean(queue: AnyQueue, args: argparse.Namespace, terminal: Terminal) -> None:
    count = queue.clean(args.state, args.older_than, args.limit)
    _say(terminal, f"{number(count)} {args.state} jobs gone", removed=count)


def _say(terminal: Terminal, text: str, **document: Any) -> None:
    terminal.show(Text(text))
    terminal.document(document)


_ACTIONS = {
    "counts": _counts,
    "show": _show,
    "jobs": _jobs,
    "failed": _jobs,
    "retry": _retry,
    "remove": _remove,
    "promote": _promote,
    "pause": _pause,
    "resume": _pause,
    "drain": _drain,
    "clean": _clean,
}
