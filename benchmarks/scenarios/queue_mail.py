"""10,000 e-mails as the documentation has them: `send-email`, 20 at once, and `bulk-send` for 100 recipients each, 5 at
once, with progress and a result for each recipient; a connection of a plain SMTP client for each job, into a local sink.
Each e-mail must have arrived once."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import msgspec

from benchmarks import mail, queues
from mailgenius import AsyncRedis
from mailgenius.queue import AsyncQueue
from mailgenius.worker import Job, Worker

if TYPE_CHECKING:
    from benchmarks.results import Results
    from benchmarks.room import Room

    from . import Options

SCENARIO = "queue_mail"
SINGLE, BATCHES, BATCH = 5_000, 50, 100
EMAILS = SINGLE + BATCHES * BATCH
LINES = ["Dear reader, this is a line of some eighty characters, as an e-mail has many."] * 60  # about 5 KB


class Email(msgspec.Struct):
    to: str


class Bulk(msgspec.Struct):
    to: list[str]


def measure(room: Room | None, options: Options, results: Results) -> None:
    results.forget(SCENARIO)
    hours = [3600 / seconds() * EMAILS for _ in range(options.runs)]
    command = options.command(SCENARIO)
    results.put(f"{SCENARIO}/e-mails an hour", hours, "/h", command=command)
    results.put(f"{SCENARIO}/10,000 e-mails", [3600 * EMAILS / rate for rate in hours], "s", command=command)


def seconds() -> float:
    """What 10,000 e-mails take, from the first ``add`` to the end of the last job."""
    with tempfile.TemporaryDirectory() as folder, queues.server() as (url, _):
        file = Path(folder) / "taken"
        with mail.sink(file) as port:
            took = asyncio.run(_send(url, port))
        taken = file.read_text().splitlines()[1:]
    assert sorted(taken) == sorted(f"{n}@example.com" for n in range(EMAILS))
    return took


async def _send(url: str, port: int) -> float:
    async with AsyncRedis(url) as redis:
        queue = AsyncQueue(redis, "email-sending")
        worker, ended = Worker(queue), 0

        def one_more(*_: Any) -> None:
            nonlocal ended
            ended += 1
            if ended == SINGLE + BATCHES:
                worker.stop()

        worker.on("completed", one_more)

        @worker.handler("send-email", concurrency=20)
        async def send_email(email: Email) -> None:
            async with mail.connected(port) as client:
                await client.send("news@example.com", email.to, mail.text(email.to, LINES))

        @worker.handler("bulk-send", concurrency=5, keep_result=3600)
        async def bulk_send(bulk: Bulk, job: Job) -> dict[str, str]:
            sent = {}
            async with mail.connected(port) as client:
                for n, to in enumerate(bulk.to, 1):
                    await client.send("news@example.com", to, mail.text(to, LINES))
                    sent[to] = "sent"
                    job.progress(100 * n // len(bulk.to))
            return sent

        everybody = [f"{n}@example.com" for n in range(EMAILS)]
        bulks = [Bulk(everybody[at : at + BATCH]) for at in range(SINGLE, EMAILS, BATCH)]
        began = perf_counter()
        await queue.add_many("send-email", map(Email, everybody[:SINGLE]))
        added = await queue.add_many("bulk-send", bulks)
        await worker.run()
        took = perf_counter() - began
        results = [await queue.result(id) for id in added]
        assert [list(sent) for sent in results] == [bulk.to for bulk in bulks]
        return took
