# Made from schedules_async.py by `python -m tools.twin`: edit that one.
"""Jobs that come again and again. Whatever worker sees first that one is due lets it in, once."""

from __future__ import annotations

from typing import Any

import msgspec

from mailgenius.errors import ConfigError
from mailgenius.queue.changes_sync import Changes
from mailgenius.queue.frames import head
from mailgenius.queue.options import DEFAULT_PRIORITY, Backoff, chosen, lane
from mailgenius.queue.schedule import Plan, Schedule

__all__ = ["Schedules"]

MOST = 1000  # schedules of a queue
_PART = 100  # that are let in by one call of tick
_OFF = 60_000  # milliseconds that one is put off which this version cannot read
_encode = msgspec.msgpack.Encoder().encode
_plan = msgspec.msgpack.Decoder(Plan).decode


class Schedules(Changes):
    """The part of a queue that knows schedules."""

    def schedule(
        self,
        name: str,
        *,
        job: str,
        payload: Any = None,
        cron: str = "",
        every: float = 0.0,
        tz: str = "UTC",
        priority: int = DEFAULT_PRIORITY,
        group: str = "",
        attempts: int | None = None,
        backoff: Backoff | None = None,
        timeout: float | None = None,
        keep_result: float | None = None,
    ) -> bool:
        """Adds the job ``job`` again and again; whether that is anything new, so that every start of a program can say it.

        ``cron``: ``"0 9 * * 1-5"``, as in crontab(5), in the time zone ``tz``; a time in a gap of the clocks runs at the
        gap's end, one that comes twice runs once (``mailgenius.queue.cron`` has the rules). ``every``: seconds instead,
        the first time after that long. ``name``: of the schedule; another one of the same name takes its place. The rest is
        as for ``add``. What was due while no worker ran is made up for once. Raises ``ConfigError``.
        """
        if not name or len(name.encode()) > 255:
            raise ConfigError(f"$.queue.schedule.name: {name!r} has {len(name.encode())} bytes; give 1 to 255")
        options = chosen(attempts, backoff, timeout, keep_result, priority, group)
        frame = head(job, options) + _encode(payload)
        plan = Plan(cron, round(every * 1000), tz if cron else "", lane(priority, group), job, frame)
        now = self._now()
        changed = self._do("schedule", name, _encode(plan), plan.next(now, now), MOST)
        if changed < 0:
            raise ConfigError(f"$.queue.schedule: {self.name!r} has {MOST:,} schedules, which is as many as may be")
        return bool(changed)

    def unschedule(self, name: str) -> bool:
        """Ends a schedule; whether there was one. Jobs that it has added stay."""
        return bool(self._do("schedule", name, "", "", 0))

    def schedules(self) -> list[Schedule]:
        """All of them, as they are due."""
        plans, due = self.redis.calls(
            [("HGETALL", self.prefix + "cron"), ("ZRANGE", self.prefix + "cron_due", 0, -1, "WITHSCORES")], atomic=True
        )
        pairs = plans.items() if isinstance(plans, dict) else zip(plans[::2], plans[1::2], strict=True)
        if due and isinstance(due[0], list):  # RESP3
            due = [word for pair in due for word in pair]
        times = {name: float(time) for name, time in zip(due[::2], due[1::2], strict=True)}
        found = [(times.get(name), _plan(plan).shown(name.decode(), times.get(name))) for name, plan in pairs]
        return [one for _, one in sorted(found, key=lambda pair: (pair[0] is None, pair[0], pair[1].name))]

    def tick(self) -> int:
        """Lets in the jobs of schedules that are due; how many. A worker does this when the server says that there are."""
        now, count = self._now(), 0
        key = self.prefix + "cron_due"
        names = self.redis.call("ZRANGEBYSCORE", key, "-inf", now, "LIMIT", 0, _PART)
        if not names:
            return 0
        plans, *dues = self.redis.calls(
            [("HMGET", self.prefix + "cron", *names), *(("ZSCORE", key, name) for name in names)]
        )
        for name, data, score in zip(names, plans, dues, strict=True):
            if score is None or int(float(score)) > now:
                continue  # another one was faster
            due = int(float(score))
            try:
                plan = _plan(data or b"")
                args = (plan.next(due, now), plan.lane, plan.job, _dated(plan.frame, now))
            except (msgspec.MsgspecError, ConfigError):  # of a newer version, or a zone that is not known here
                args = (now + _OFF, "", "", b"")
            if self._do("cron", name, due, *args):
                count += 1
        return count


def _dated(frame: bytes, now: int) -> bytes:
    """The same job, added now."""
    return frame[:3] + now.to_bytes(6, "big") + frame[9:]
