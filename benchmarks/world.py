"""A platform after a year of work: millions of leads in 20 workspaces, 50 campaigns, what was sent, opened and clicked.

``opened(room, size)`` gives a database of the room's server that holds it. It is built once and kept there until its making
or the migrations change. Leads come in through the importer, the rest through INSERT … SELECT a batch at a time, as a
sender writes it; every trigger runs.

Invariants: who is sent what and who answers depends on addresses and the seed alone; nothing happens after ``NOW``, nor to
a lead before it came. Limits: the largest workspace has 60 % of the leads, the other 19 share the rest as 1/k.

    python -m benchmarks.world [--large] [--again]
"""

from __future__ import annotations

import argparse
import hashlib
import random
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import msgspec
import psycopg

from mailgenius.importer import Importer
from mailgenius.leads import Leads, migrations
from mailgenius.leads.orders import INDEXES
from mailgenius.pool import Pool

from . import data

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from .room import Room

FORMAT = 1  # raise it when the same size gives another world
NOW = datetime(2026, 11, 24, tzinfo=UTC)
WORKSPACES = 20
CAMPAIGNS = 50
IN_THE_LARGEST = 30
BATCH = 25_000  # lead numbers that a batch of a campaign covers
SAMPLED = (4000, 200)  # leads kept aside to ask for: of the largest workspace, of each other one
WRITERS = 2
ATTRIBUTES = ("Plan", "Source")  # that are indexed

# Not joined with itself: among ten million leads that nobody has analysed yet, the planner chose to look up each by a loop.
STATUSES = """
update mailgenius.leads set updated_at = now(), status = case
    when (hashtextextended(email, 1) & 1048575) / 1048576.0 < 0.001 then 'complained'
    when (hashtextextended(email, 1) & 1048575) / 1048576.0 < 0.021 then 'bounced' else 'unsubscribed' end
where workspace_id = %(workspace)s and (hashtextextended(email, 1) & 1048575) / 1048576.0 < 0.061
"""

# u(n): a number between 0 and 1 that belongs to this address, this campaign and this purpose.
SENDS = """
with sent as (
    insert into mailgenius.email_sends
        (workspace_id, campaign_id, lead_id, email, status, error, message_id, created_at, updated_at)
    select l.workspace_id, %(campaign)s, l.id, l.email, s.status,
           case s.status when 'bounced' then '550 5.1.1 unknown recipient' end,
           to_hex(hashtextextended(l.email, %(seed)s)) || '@mail.example', s.at, s.at + interval '3 seconds'
    from mailgenius.leads l
    cross join lateral (
        select case when u < 0.02 then 'bounced' when u < 0.021 then 'complained' when u < 0.03 then 'sent'
                    else 'delivered' end as status,
               %(start)s + %(hours)s * interval '1 hour' * ((l.id - %(first)s) / %(span)s::float8) as at
        from (select (hashtextextended(l.email, %(seed)s + 1) & 1048575) / 1048576.0 as u) drawn
    ) s
    where l.workspace_id = %(workspace)s and l.id >= %(low)s and l.id < %(high)s
      and (hashtextextended(l.email, %(seed)s) & 1048575) / 1048576.0 < %(share)s
    returning workspace_id, campaign_id, lead_id, email, status, created_at
), opened as (
    -- Some people open nearly everything, many open nothing: 0.6 u² is 0.2 on average.
    select s.*, (-ln(1 - (hashtextextended(email, %(seed)s + 3) & 1048575) / 1048577.0)) * interval '6 hours' as later
    from sent s
    where status = 'delivered'
      and (hashtextextended(email, %(seed)s + 2) & 1048575) / 1048576.0
          < 0.62 * ((hashtextextended(email, 2) & 1048575) / 1048576.0) ^ 2
)
insert into mailgenius.lead_activities (workspace_id, lead_id, campaign_id, kind, created_at)
select workspace_id, lead_id, campaign_id, kind, least(created_at + later * times, %(now)s)
from opened
cross join lateral (select (hashtextextended(email, %(seed)s + 4) & 1048575) / 1048576.0 as u) drawn
cross join lateral (
    select 'open' as kind, 1.0 as times
    union all select 'open', 2.5 where u > 0.9
    union all select 'click', 1.01 where u < 0.15
    union all select 'unsubscribe', 1.02 where u < 0.01
) happened
order by 5
"""

SIZES_OF_TABLES = """
select coalesce(parent.relname, c.relname) as "table",
       coalesce(parent_index.relname, i.relname, '') as "index",
       sum(pg_total_relation_size(coalesce(i.oid, c.oid))
           - case when i.oid is null then pg_indexes_size(c.oid) else 0 end)::int8
from pg_class c
join pg_namespace n on n.oid = c.relnamespace and n.nspname = 'mailgenius'
left join pg_inherits h on h.inhrelid = c.oid
left join pg_class parent on parent.oid = h.inhparent
left join lateral (
    select null::oid as oid union all select indexrelid from pg_index where indrelid = c.oid
) x on true
left join pg_class i on i.oid = x.oid
left join pg_inherits ih on ih.inhrelid = i.oid
left join pg_class parent_index on parent_index.oid = ih.inhparent
where c.relkind in ('r', 'm')
group by 1, 2
having sum(pg_total_relation_size(coalesce(i.oid, c.oid))) > 0
order by 1, 2
"""


class Size(msgspec.Struct, frozen=True):
    name: str
    leads: int
    sends: int


SMALL = Size("small", 60_000, 300_000)
USUAL = Size("2m", 2_000_000, 10_000_000)
LARGE = Size("10m", 10_000_000, 50_000_000)


class Workspace(msgspec.Struct, frozen=True):
    slug: str
    id: int
    leads: int
    emails: list[str]  # some of its leads, evenly spread over their numbers


class Campaign(msgspec.Struct, frozen=True):
    workspace: str
    id: int
    start: datetime
    sends: int


class World(msgspec.Struct, frozen=True):
    size: Size
    database: str
    workspaces: list[Workspace]  # the largest first
    campaigns: list[Campaign]  # in the order in which they were sent, of the largest workspace first
    activities: dict[str, int]
    disk: list[tuple[str, str, int]]  # table, index ("" for the table itself), bytes
    seconds: dict[str, float]  # how long the steps of the building took

    @property
    def largest(self) -> Workspace:
        return self.workspaces[0]


def shares(size: Size) -> tuple[list[int], list[tuple[int, float]]]:
    """Leads of each workspace, and each campaign: its workspace's place, and the share of the leads that it goes to."""
    largest = round(size.leads * 0.6)
    tail = [1 / k for k in range(1, WORKSPACES)]
    sizes = [largest, *(round((size.leads - largest) * part / sum(tail)) for part in tail)]
    sizes[1] += size.leads - sum(sizes)
    others = [(1, 0.9), *((place, 0.9) for place in range(1, WORKSPACES))]
    rng = random.Random(f"{FORMAT}/campaigns")
    weights = [rng.lognormvariate(0, 0.9) for _ in range(IN_THE_LARGEST)]
    wanted = (size.sends - sum(sizes[place] * share for place, share in others)) / largest
    low, high = 0.0, 100.0
    while high - low > 1e-9:  # the factor at which the shares, each at most 0.95, add up
        factor = (low + high) / 2
        low, high = (factor, high) if sum(min(0.95, factor * w) for w in weights) < wanted else (low, factor)
    return sizes, [*((0, min(0.95, low * w)) for w in weights), *others]


def key(size: Size) -> str:
    made = hashlib.sha256(f"{FORMAT}/{data.FORMAT}/{size}".encode())
    for text in (STATUSES, SENDS, str(INDEXES), str(ATTRIBUTES), *(m.sql for m in migrations())):
        made.update(text.encode())
    return made.hexdigest()[:8]


def opened(room: Room, size: Size, say: Callable[[str], None] = print, *, again: bool = False) -> World:
    """The world of this size, built if it is not there."""
    name = f"world_{size.name}_{key(size)}"
    known = room.home / f"{name}.json"
    with room.admin() as conn:
        old = [
            row[0] for row in conn.execute(f"select datname from pg_database where datname like 'world_{size.name}%'")
        ]
    if name in old and known.exists() and not again:
        return msgspec.json.decode(known.read_bytes(), type=World)
    for database in old:
        room.drop(database)
    for path in room.home.glob(f"world_{size.name}_*.json"):
        path.unlink()
    return _build(room, size, name, known, say)


def _build(room: Room, size: Size, name: str, known: Path, say: Callable[[str], None]) -> World:
    """Under another name, which it loses when all of it is there."""
    say(f"world: building {size.leads:,} leads and {size.sends:,} sends, once")
    building = f"world_{size.name}_building"
    made = msgspec.structs.replace(fill(room.make(building, workspace=None), size, say), database=name)
    with room.admin() as conn:
        conn.execute(f"alter database {building} rename to {name}")
    known.write_bytes(msgspec.json.format(msgspec.json.encode(made), indent=1))
    return made


def fill(conninfo: str, size: Size, say: Callable[[str], None] = print) -> World:
    """Builds the world in a migrated database without leads."""
    seconds: dict[str, float] = {}

    @contextmanager
    def step(what: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        seconds[what] = round(time.perf_counter() - began, 1)
        say(f"  {what:<44}{seconds[what]:8.1f} s")

    sizes, parts = shares(size)
    with Pool(conninfo) as pool, psycopg.connect(conninfo, autocommit=True) as conn:
        Leads(pool).index_attributes(*ATTRIBUTES)
        with step("leads, through the importer"):
            ids = _import(pool, sizes)
        with step("statuses"):
            for workspace in ids:
                conn.execute(STATUSES, {"workspace": workspace})
        conn.execute("vacuum analyze mailgenius.leads")
        with step("campaigns, sends and activities"):
            campaigns = _campaigns(conninfo, ids, parts)
        with step("vacuum analyze"):
            conn.execute("vacuum analyze")
            conn.execute("checkpoint")
        sent = dict(conn.execute("select campaign_id, count(*) from mailgenius.email_sends group by 1").fetchall())
        kinds = dict(conn.execute("select kind, count(*) from mailgenius.lead_activities group by 1").fetchall())
        workspaces = [
            Workspace(f"w{place + 1:02}", number, leads, _sample(conn, number, min(leads, SAMPLED[place > 0])))
            for place, (number, leads) in enumerate(zip(ids, sizes, strict=True))
        ]
        disk = [(table, index, taken) for table, index, taken in conn.execute(SIZES_OF_TABLES)]
    return World(
        size=size,
        database=psycopg.conninfo.conninfo_to_dict(conninfo)["dbname"],
        workspaces=workspaces,
        campaigns=[msgspec.structs.replace(c, sends=sent.get(c.id, 0)) for c in campaigns],
        activities=kinds,
        disk=disk,
        seconds=seconds,
    )


def _import(pool: Pool, sizes: list[int]) -> list[int]:
    """Every workspace from a file of its own; files share no address. The workspaces' numbers."""
    ids, start = [], 0
    for place, rows in enumerate(sizes):
        slug = f"w{place + 1:02}"
        pieces = data.stream_leads(rows, lambda _facts: None, seed=place, start=start, invalid=0.0, duplicates=0.0)
        report = Importer(pool).run((raw for raw, _ in pieces), workspace=slug)
        assert report.inserted == rows, report
        start += rows
        ids.append(Leads(pool).workspace_id(slug))
    return ids


def _campaigns(conninfo: str, ids: list[int], parts: list[tuple[int, float]]) -> list[Campaign]:
    rng = random.Random(f"{FORMAT}/dates")
    made: list[tuple[Campaign, dict[str, object]]] = []
    with psycopg.connect(conninfo, autocommit=True) as conn:
        for days in range(0, 400, 20):
            for parent in ("email_sends", "lead_activities"):
                conn.execute("select mailgenius.create_month(%s, %s)", (parent, (NOW - timedelta(days=days)).date()))
        for number, (place, share) in enumerate(parts):
            turn, of = (number, IN_THE_LARGEST) if place == 0 else (number - IN_THE_LARGEST, CAMPAIGNS - IN_THE_LARGEST)
            hours = rng.uniform(2, 10)
            start = NOW - timedelta(days=365 * (1 - (turn + rng.random() * 0.8) / of), hours=-12)
            start = min(start, NOW - timedelta(hours=hours + 1))
            row = conn.execute(
                "insert into mailgenius.campaigns (workspace_id, name, subject, status, scheduled_at, created_at)"
                " values (%s, %s, %s, 'done', %s, %s) returning id",
                (ids[place], f"Campaign {number + 1}", "News", start, start - timedelta(days=2)),
            ).fetchone()
            assert row is not None
            campaign = Campaign(f"w{place + 1:02}", row[0], start, 0)
            params = {"workspace": ids[place], "campaign": row[0], "seed": 100 + 10 * number, "share": share}
            made.append((campaign, params | {"start": start, "hours": hours, "now": NOW}))
        bounds = {
            workspace: conn.execute(
                "select min(id), max(id) + 1 from mailgenius.leads where workspace_id = %s", (workspace,)
            ).fetchone()
            for workspace in ids
        }

    def send(params: dict[str, object]) -> None:
        first, last = bounds[params["workspace"]]  # type: ignore[index, misc]
        more = {"first": first, "span": last - first}
        with psycopg.connect(conninfo, autocommit=True) as conn:
            conn.execute("set synchronous_commit = off")
            for low in range(first, last, BATCH):
                conn.execute(SENDS, params | more | {"low": low, "high": min(low + BATCH, last)})

    with ThreadPoolExecutor(WRITERS) as writers:
        list(writers.map(send, [params for _, params in sorted(made, key=lambda both: both[0].start)]))
    return [campaign for campaign, _ in made]


def _sample(conn: psycopg.Connection[tuple[object, ...]], workspace: int, count: int) -> list[str]:
    rows = conn.execute(
        "with w as (select min(id) as low, max(id) as high from mailgenius.leads where workspace_id = %(w)s)"
        " select l.email from w, generate_series(0, %(n)s - 1) turn"
        " join mailgenius.leads l on l.workspace_id = %(w)s and l.id = (select low + (high - low) * turn / %(n)s from w)",
        {"w": workspace, "n": count},
    )
    return [str(row[0]) for row in rows]


def described(world: World) -> list[str]:
    """What there is, and the disk it takes, in Markdown."""
    sent, total = sum(c.sends for c in world.campaigns), sum(size for _, _, size in world.disk)
    kinds = ", ".join(f"{n:,} × {kind}" for kind, n in sorted(world.activities.items()))
    out = [
        f"{world.size.leads:,} leads in {len(world.workspaces)} workspaces, the largest {world.largest.leads:,}; "
        f"{sent:,} sends in {len(world.campaigns)} campaigns over twelve months; activities: {kinds}. Built in "
        f"{sum(world.seconds.values()):.0f} s ({', '.join(f'{what} {s:.0f} s' for what, s in world.seconds.items())}); "
        f"{total / 2**30:.1f} GiB on disk:",
        "",
        "| table | MiB | indexes, MiB |",
        "|---|---:|---|",
    ]
    tables: dict[str, dict[str, float]] = {}
    for table, index, size in world.disk:
        tables.setdefault(table, {})[index] = size / 2**20
    for table, parts in sorted(tables.items(), key=lambda item: -sum(item[1].values())):
        if sum(parts.values()) < 1:
            continue
        indexes = ", ".join(f"{name} {size:,.0f}" for name, size in sorted(parts.items(), key=lambda i: -i[1]) if name)
        out.append(f"| {table} | {parts.get('', 0):,.0f} | {indexes} |")
    return out


def main() -> int:
    from .room import Room

    parser = argparse.ArgumentParser(prog="python -m benchmarks.world", description="Build the world of bench-leads.")
    parser.add_argument("--large", action="store_true", help="10M leads and 50M sends: some 20 GB")
    parser.add_argument("--small", action="store_true", help="60,000 leads and 300,000 sends: to try things")
    parser.add_argument("--again", action="store_true", help="even if it is there")
    args = parser.parse_args()
    with Room() as room:
        world = opened(room, LARGE if args.large else SMALL if args.small else USUAL, again=args.again)
    print("\n".join(described(world)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
