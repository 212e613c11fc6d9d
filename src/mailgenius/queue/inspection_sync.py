# Made from inspection_async.py by `python -m tools.twin`: edit that one.
"""Looking at jobs. Every call to the server is bounded, however many jobs there are, and changes nothing."""

from __future__ import annotations

from typing import Any

import msgspec

from mailgenius.errors import ConfigError
from mailgenius.queue.base_sync import Base
from mailgenius.queue.states import PAGED, StateName
from mailgenius.queue.views import Counts, JobInfo, Page, counted, decoded, error_text, info, info_done, traceback_of

__all__ = ["Inspection"]

MOST = 1000  # jobs of a page
CALLS = 100  # to the server, for a page
LOOK = 200  # jobs that one of them looks at
GIVEN = 50  # jobs that one of them gives, at most


class Inspection(Base):
    """The part of a queue that tells of its jobs."""

    def counts(self) -> Counts:
        """How many jobs there are, by state and by name. The cost does not depend on how many."""
        p = self.prefix
        return counted(
            self.redis.calls(
                [
                    ("HGETALL", p + "q"),
                    ("ZCARD", p + "delayed"),
                    ("ZCARD", p + "parents"),
                    ("ZCARD", p + "dead"),
                    ("LLEN", p + "kept"),
                    ("SMEMBERS", p + "paused"),
                    ("HGETALL", p + "names"),
                ],
                atomic=True,
            )
        )

    def page(self, state: StateName, limit: int = 100, *, after: str | None = None, name: str = "") -> Page:
        """Up to ``limit`` (1 to 1,000) jobs of a state. ``after``: that of the page before. ``name``: jobs of this name
        alone; 20,000 jobs are looked at for a page at most.

        Waiting jobs come by priority, then group, then in the order in which they start; active ones by lease; delayed ones
        as they are due, blocked ones as they were added; failed and done ones the latest first. What comes or goes between
        two pages leaves the others where they are. Raises ``ConfigError``.
        """
        if state not in PAGED:
            raise ConfigError(f"$.queue.page.state: {state!r} is none of {', '.join(PAGED)}")
        if not 1 <= limit <= MOST:
            raise ConfigError(f"$.queue.page.limit: {limit} is out of range; give 1 to {MOST:,}")
        if state == "done":
            return self._page_done(limit, after, name)
        jobs: list[JobInfo] = []
        for _ in range(CALLS):
            reply = self._look("page", state, after or "", min(GIVEN, limit - len(jobs)), LOOK, name)
            after = reply[0].decode() or None
            for at in range(1, len(reply), 4):
                id, frame, time, worker = reply[at : at + 4]
                jobs.append(info(id.decode(), state, frame, time, worker=worker.decode()))
            if after is None or len(jobs) == limit:
                break
        if state == "failed" and jobs:
            errors = self.redis.call("HMGET", self.prefix + "errors", *(job.id for job in jobs))
            jobs = [
                msgspec.structs.replace(job, error=error_text(error)) if error else job
                for job, error in zip(jobs, errors, strict=True)
            ]
        return Page(jobs, after)

    def _page_done(self, limit: int, after: str | None, name: str) -> Page:
        """They are few: as many as the policy keeps. The cursor is the id of the last one given."""
        jobs: list[JobInfo] = []
        begun = after is None
        for first in range(0, CALLS * LOOK, LOOK):
            records = self.redis.call("LRANGE", self.prefix + "kept", first, first + LOOK - 1)
            for record in records:
                job = info_done(record)
                if begun and (not name or job.name == name):
                    jobs.append(job)
                    if len(jobs) == limit:
                        return Page(jobs, job.id)
                begun = begun or job.id == after
            if len(records) < LOOK:
                break
        return Page(jobs, None)

    def show(self, id: str) -> JobInfo | None:
        """All that is known of a job; None if there is none, or nothing of it was kept."""
        state, frame, at, progress, error, worker, result, log, left, failed = self._look("show", id)
        more: dict[str, Any] = {
            "progress": decoded(progress),
            "result": decoded(result),
            "log": tuple(line.decode(errors="replace") for line in log),
        }
        if state:
            more |= {"children_left": int(left), "children_failed": int(failed), "traceback": traceback_of(error)}
            return info(id, state.decode(), frame, at, error=error_text(error), worker=worker.decode(), **more)
        for first in range(0, CALLS * LOOK, LOOK):
            records = self.redis.call("LRANGE", self.prefix + "kept", first, first + LOOK - 1)
            for record in records:
                job = info_done(record, **more)
                if job.id == id:
                    return job
            if len(records) < LOOK:
                break
        return JobInfo(id=id, name="", state="done", **more) if result else None

    def progress(self, id: str) -> Any:
        """What the job's handler said last of how far it is; None: nothing."""
        return decoded(self.redis.call("HGET", self.prefix + "progress", id) or b"")

    def log(self, id: str, limit: int = 100) -> list[str]:
        """The last lines that the job's handler wrote."""
        lines = self.redis.call("LRANGE", self.prefix + "log:" + id, -limit, -1)
        return [line.decode(errors="replace") for line in lines]
