"""Realistic lead files, made fast, whose every row's fate is known.

``write_leads`` writes a raw CSV the way customers send them (about 3 % rows that cannot be imported, 2 % duplicates,
quoted fields, embedded line ends, UTF-8 names, some internationalised domains) and returns ``Facts``: what an exact
importer must report. The facts come from how each row was made and never from mailgenius. With ``clean`` it also writes
what is left after a perfect clean-up, as COPY text: the file a rival may load without any work.

Invariants: the same arguments give the same bytes; every accepted address of one file, and of files with disjoint
``start`` ranges, is different; memory does not grow with ``rows``. Limit: ``start + rows`` up to 2**25.

    python -m benchmarks.data out.csv --rows 2000000
"""

from __future__ import annotations

import argparse
import hashlib
import random
import sys
import time
import zlib
from collections import Counter
from datetime import date, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import idna
import msgspec
import numpy as np

from . import names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from mailgenius.importer import ImportReport

FORMAT = 1  # raise it when the same arguments give other bytes: cached files are then made anew
HOME = Path(__file__).resolve().parent.parent / ".data"
HEADER = "E-mail,First name,Last name,Phone,Company,City,Country,Tags,Score,Signup date,Plan,Source"
COLUMNS = (  # of the clean file
    "workspace_id, email, first_name, last_name, phone, company, city, country, tags, attributes, score, created_at"
)
MAX_ROWS = 1 << 25
LISTED = 1000  # how many single rows of each fate Facts names


class Facts(msgspec.Struct, frozen=True):
    """What is true of a generated file. Lines are 1-based and physical; the header is line 1."""

    rows: int
    bytes: int
    inserted: int
    existing: int
    duplicates: int
    rejected: int
    reasons: dict[str, int]
    email_crc: int  # sum of crc32(normalised address) over accepted rows, modulo 2**64: the same for any order
    first_rejects: list[tuple[int, str]]  # line, reason
    first_duplicates: list[tuple[int, int]]  # line, line of the first

    @property
    def accepted(self) -> int:
        return self.inserted + self.existing


class Dataset(msgspec.Struct, frozen=True):
    raw: Path
    clean: Path
    facts: Facts


def _scramble(index: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """A fixed permutation of [0, 2**25): neighbours in the file are strangers in e-mail order."""
    mask = MAX_ROWS - 1
    x = index.astype(np.uint64)
    for factor in (0x2C1B3C6D, 0x297A2D39, 0x1B56C4E9):
        x ^= x >> np.uint64(13)
        x = (x * np.uint64(factor)) & np.uint64(mask)
    x ^= x >> np.uint64(13)
    return x.astype(np.int64)


def _csv(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if any(c in text for c in ',"\n\r') else text


def _copy(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace("\t", "\\t")


class _Pools:
    """Everything that rows are put together from, in both spellings: (raw CSV, clean COPY text)."""

    def __init__(self) -> None:
        rng = random.Random(2026)
        people: dict[str, tuple[str, str, str]] = {}
        for first, f in names.FIRST:
            for last, n in names.LAST:
                for local in (f"{f}.{n}", f"{f}{n}", f"{f[0]}.{n}", f"{n}_{f}"):
                    people.setdefault(local, (local, f"{first},{last}", f"{first}\t{last}"))
        self.people = sorted(people.values())
        rng.shuffle(self.people)

        plain = [f"{a} {b}{c}" for a in names.COMPANY_HEADS for b in names.COMPANY_TAILS for c in names.COMPANY_FORMS]
        rng.shuffle(plain)
        plain = plain[:4000]
        odd = rng.choices(names.COMPANY_ODD, k=400)
        lines = rng.choices(names.COMPANY_LINES, k=24)
        companies = plain + odd + lines + [""] * 300
        rng.shuffle(companies)
        self.company = [(_csv(c), _copy(c) if c else "\\N") for c in companies]
        self.line_ends = np.array([c.count("\n") for c in companies], dtype=np.int64)

        free = [d for d, share in names.FREE_MAIL for _ in range(share * 100)]
        own = [f"{a}{b}.{t}".lower() for a in names.COMPANY_HEADS for b in names.COMPANY_TAILS for t in names.TOP_LEVEL]
        self.domain = free + rng.sample(own, 2600)
        self.idn = [(d, idna.encode(d, uts46=True).decode()) for d in names.IDN_DOMAINS]

        self.place = [(f"{p}%s", f"{city},{cc}", f"{city}\t{cc}") for city, cc, p in names.PLACES]
        self.tags = [(t, "{" + t.replace(";", ",") + "}") for t in names.TAGS]
        self.offer = [(f"{p},{s}", f'{{"Plan": "{p}", "Source": "{s}"}}') for p in names.PLANS for s in names.SOURCES]
        day = date(2019, 1, 1)
        self.days = [(day + timedelta(days=n)).isoformat() for n in range(2500)]


@cache
def _pools() -> _Pools:
    return _Pools()


# Each breaks a good row on purpose: (share, reason, what to do to the fields of the row). Fields are those of HEADER.
def _email(change: Callable[[str, str, str], str]) -> Callable[[list[str], str], None]:
    def apply(fields: list[str], first: str) -> None:
        local, _, domain = fields[0].partition("@")
        fields[0] = _csv(change(local, domain, first))

    return apply


def _set(index: int, value: str) -> Callable[[list[str], str], None]:
    def apply(fields: list[str], _first: str) -> None:
        fields[index] = value

    return apply


def _drop(fields: list[str], _first: str) -> None:
    del fields[-1]


def _extra(fields: list[str], _first: str) -> None:
    fields.append("?")


FAULTS: list[tuple[int, str, Callable[[list[str], str], None]]] = [
    (14, "email.no_at", _email(lambda a, d, _: f"{a}.{d}")),
    (6, "email.two_ats", _email(lambda a, d, _: f"{a}@{d}@{d}")),
    (3, "email.two_ats", _email(lambda a, d, _: f"{a}@@{d}")),
    (8, "email.space", _email(lambda a, d, _: f"{a[:3]} {a[3:]}@{d}")),
    (12, "email.empty", _set(0, "")),
    (8, "email.domain_no_dot", _email(lambda a, d, _: f"{a}@{d.split('.')[0]}")),
    (5, "email.domain_dot", _email(lambda a, d, _: f"{a}@{d.replace('.', '..', 1)}")),
    (3, "email.domain_dot", _email(lambda a, d, _: f"{a}@{d}.")),
    (5, "email.domain_char", _email(lambda a, d, _: f"{a}@{d.replace('.', ',')}")),
    (3, "email.domain_char", _email(lambda a, d, _: f"{a}@my_{d}")),
    (2, "email.domain_hyphen", _email(lambda a, d, _: f"{a}@-{d}")),
    (4, "email.local_dot", _email(lambda a, d, _: f"{a.replace('.', '')}.@{d}")),
    (2, "email.local_empty", _email(lambda _a, d, _: f"@{d}")),
    (2, "email.domain_special_use", _email(lambda a, _d, _: f"{a}@mail.local")),
    (1, "email.domain_literal", _email(lambda a, _d, _: f"{a}@[10.0.0.1]")),
    (3, "email.display_name", _email(lambda a, d, first: f"{first} <{a}@{d}>")),
    (6, "row.fields", _drop),
    (3, "row.fields", _extra),
    (4, "date.syntax", _set(9, "last week")),
    (3, "date.range", _set(9, "2023-02-30")),
    (4, "int.syntax", _set(8, "high")),
    (1, "int.range", _set(8, "99999999999")),
]


class _Maker:
    def __init__(
        self, seed: int, start: int, existing: Sequence[str], invalid: float, duplicates: float, existing_share: float
    ):
        self.rng = np.random.default_rng([FORMAT, seed])
        self.odd = random.Random(f"{FORMAT}/{seed}")
        self.pools = _pools()
        self.start = start
        self.existing = iter(existing)
        # what happens to a row: 0 nothing, 1 fault, 2 duplicate, 3 internationalised domain, 4 UTF-8 local part,
        # 5 capitals, 6 spaces around, 7 is in the table already
        shares = [invalid, duplicates, 0.005, 0.0005, 0.02, 0.005, existing_share]
        self.kind_p = np.array([1 - sum(shares), *shares])
        self.fault_p = np.array([f[0] for f in FAULTS], dtype=float) / sum(f[0] for f in FAULTS)
        self.line = 2
        self.seen: list[tuple[str, str, int]] = []  # some accepted addresses: as written, normalised, line
        self.crc = 0
        self.n_existing = self.n_duplicates = 0
        self.reasons: Counter[str] = Counter()
        self.rejects: list[tuple[int, str]] = []
        self.dups: list[tuple[int, int]] = []

    def block(self, first: int, n: int, workspace: int | None) -> tuple[str, str]:
        """Rows first .. first+n of the file: raw CSV, and COPY text of the accepted ones ("" unless asked for)."""
        rng, pools = self.rng, self.pools
        number = _scramble(np.arange(self.start + first, self.start + first + n))
        who = [pools.people[k] for k in (number % len(pools.people)).tolist()]
        extra = (number // len(pools.people)).tolist()
        domain = [pools.domain[k] for k in rng.integers(0, len(pools.domain), n).tolist()]
        company_i = rng.integers(0, len(pools.company), n)
        company = [pools.company[k] for k in company_i.tolist()]
        place = [pools.place[k] for k in rng.integers(0, len(pools.place), n).tolist()]
        phone = rng.integers(10**7, 10**8, n).tolist()
        tags = [pools.tags[k] for k in rng.integers(0, len(pools.tags), n).tolist()]
        score = rng.integers(0, 101, n).tolist()
        day = [pools.days[k] for k in rng.integers(0, len(pools.days), n).tolist()]
        offer = [pools.offer[k] for k in rng.integers(0, len(pools.offer), n).tolist()]
        kind = rng.choice(len(self.kind_p), n, p=self.kind_p)
        ends = pools.line_ends[company_i]
        line = self.line + np.concatenate(([0], np.cumsum(ends + 1)))
        self.line = int(line[-1])

        email = [f"{w[0]}{x}@{d}" for w, x, d in zip(who, extra, domain, strict=True)]
        raw = [
            f"{e},{w[1]},{p[0] % ph},{c[0]},{p[1]},{t[0]},{s},{d},{o[0]}"
            for e, w, ph, c, p, t, s, d, o in zip(
                email, who, phone, company, place, tags, score, day, offer, strict=True
            )
        ]
        lost: set[int] = set()
        norm = email  # changed below where the stored form is not what the plain row says
        for i in np.flatnonzero(kind).tolist():
            rest = raw[i][len(email[i]) :]
            k, at = int(kind[i]), int(line[i])
            if k == 1:
                reason = self._break(
                    raw, i, email[i], who[i], place[i], phone[i], company[i], tags[i], score[i], day[i], offer[i]
                )
                self.reasons[reason] += 1
                lost.add(i)
                if len(self.rejects) < LISTED:
                    self.rejects.append((at, reason))
            elif k == 2 and self.seen:
                written, stored, before = self.odd.choice(self.seen)
                if written.isascii():
                    written = self.odd.choice((written, written, written.upper(), written.title()))
                elif self.odd.random() < 0.5:
                    written = stored  # the same domain, spelt in ASCII
                raw[i] = written + rest
                self.n_duplicates += 1
                lost.add(i)
                if len(self.dups) < LISTED:
                    self.dups.append((at, before))
            elif k == 3:
                unicode_domain, ascii_domain = self.odd.choice(pools.idn)
                local = email[i].partition("@")[0]
                norm[i] = f"{local}@{ascii_domain}"
                raw[i] = (norm[i] if self.odd.random() < 0.2 else f"{local}@{unicode_domain}") + rest
            elif k == 4:
                # the number of the row keeps it unique
                norm[i] = f"{self.odd.choice(names.UTF8_LOCALS)}{int(number[i])}@{domain[i]}"
                raw[i] = norm[i] + rest
            elif k == 5:
                raw[i] = (email[i].title() if self.odd.random() < 0.7 else email[i].upper()) + rest
            elif k == 6:
                raw[i] = f" {email[i]} " + rest
            elif k == 7:
                known = next(self.existing, None)
                if known is not None:
                    norm[i] = known
                    raw[i] = known + rest
                    self.n_existing += 1
        keep = [i for i in range(n) if i not in lost] if lost else range(n)
        self.crc += sum([zlib.crc32(norm[i].encode()) for i in keep])
        self._remember(
            [(raw[i].split(",", 1)[0].strip(), norm[i], int(line[i])) for i in list(keep)[:: max(1, n // 2048)]]
        )
        clean = ""
        if workspace is not None:
            clean = "".join(
                [
                    f"{workspace}\t{norm[i]}\t{who[i][2]}\t{place[i][0] % phone[i]}\t{company[i][1]}\t{place[i][2]}"
                    f"\t{tags[i][1]}\t{offer[i][1]}\t{score[i]}\t{day[i]} 00:00:00+00\n"
                    for i in keep
                ]
            )
        return "\n".join(raw) + "\n", clean

    def _break(
        self,
        raw: list[str],
        i: int,
        email: str,
        who: Any,
        place: Any,
        phone: int,
        company: Any,
        tags: Any,
        score: int,
        day: str,
        offer: Any,
    ) -> str:
        first, last = who[1].split(",")
        fields = [email, first, last, place[0] % phone, company[0], *place[1].split(","), tags[0], str(score), day]
        fields += offer[0].split(",")
        _, reason, change = FAULTS[int(self.rng.choice(len(FAULTS), p=self.fault_p))]
        change(fields, first)
        raw[i] = ",".join(fields)
        return reason

    def _remember(self, some: list[tuple[str, str, int]]) -> None:
        room = 65536 - len(self.seen)
        self.seen.extend(some[:room])
        for item in some[max(room, 0) :]:
            self.seen[self.odd.randrange(65536)] = item


def _blocks(rows: int) -> Iterator[tuple[int, int]]:
    """Small blocks first, because a duplicate repeats a row of an earlier block."""
    at, size = 0, 64
    while at < rows:
        n = min(size, rows - at)
        yield at, n
        at, size = at + n, min(size * 2, 65536)


def stream_leads(
    rows: int,
    facts: Callable[[Facts], None],
    *,
    seed: int = 7,
    start: int = 0,
    existing: Sequence[str] = (),
    invalid: float = 0.03,
    duplicates: float = 0.02,
    workspace: int | None = None,
) -> Iterator[tuple[bytes, bytes]]:
    """(raw, clean) pieces of a file, in constant memory; ``facts`` is called with the truth once all are out."""
    if start + rows > MAX_ROWS:
        raise ValueError(f"start + rows is {start + rows}, over {MAX_ROWS}")
    made = _Maker(seed, start, existing, invalid, duplicates, len(existing) / rows * 1.02 if existing else 0.0)
    head = HEADER.encode() + b"\n"
    size = len(head)
    yield head, b""
    for first, n in _blocks(rows):
        raw, clean = made.block(first, n, workspace)
        piece = raw.encode()
        size += len(piece)
        yield piece, clean.encode()
    rejected = made.reasons.total()
    facts(
        Facts(
            rows=rows,
            bytes=size,
            inserted=rows - rejected - made.n_duplicates - made.n_existing,
            existing=made.n_existing,
            duplicates=made.n_duplicates,
            rejected=rejected,
            reasons=dict(sorted(made.reasons.items())),
            email_crc=made.crc % 2**64,
            first_rejects=made.rejects,
            first_duplicates=made.dups,
        )
    )


def write_leads(
    path: Path | str,
    rows: int,
    *,
    seed: int = 7,
    start: int = 0,
    existing: Sequence[str] = (),
    invalid: float = 0.03,
    duplicates: float = 0.02,
    clean: Path | str | None = None,
    workspace: int = 1,
) -> Facts:
    """Writes ``rows`` leads to ``path`` and returns what is true of them.

    ``start``: number of the first lead; files with disjoint ranges share no address. ``existing``: normalised addresses
    that the table already holds, spread over the file, each once. ``clean``: also write COPY text (columns ``COLUMNS``)
    of the rows that a perfect clean-up leaves.
    """
    result: list[Facts] = []
    pieces = stream_leads(
        rows,
        result.append,
        seed=seed,
        start=start,
        existing=existing,
        invalid=invalid,
        duplicates=duplicates,
        workspace=workspace if clean is not None else None,
    )
    if clean is None:
        with Path(path).open("wb") as out:
            for raw, _ in pieces:
                out.write(raw)
    else:
        with Path(path).open("wb") as out, Path(clean).open("wb") as tidy:
            for raw, copy in pieces:
                out.write(raw)
                tidy.write(copy)
    return result[0]


def sample_emails(clean: Path | str, count: int, rows: int) -> list[str]:
    """``count`` addresses of a clean file of ``rows`` rows, evenly spread over it."""
    step = max(1, rows // count)
    found: list[str] = []
    with Path(clean).open("rb") as lines:
        for i, line in enumerate(lines):
            if i % step == 0:
                found.append(line.split(b"\t", 2)[1].decode())
                if len(found) == count:
                    break
    return found


def dataset(
    rows: int, *, seed: int = 7, start: int = 0, onto: Dataset | None = None, share: float = 0.1, tidy: bool = True
) -> Dataset:
    """A cached file under .data/. ``onto``: ``share`` of the rows are leads which that other data set already holds.

    ``tidy``: also write the clean file.
    """
    base = f"{onto.raw.name}:{onto.facts.bytes}:{share}" if onto else ""
    key = hashlib.sha256(f"{FORMAT}/{rows}/{seed}/{start}/{base}".encode()).hexdigest()[:8]
    HOME.mkdir(exist_ok=True)
    stem = HOME / f"leads-{rows}-{key}"
    raw, clean, known = stem.with_suffix(".csv"), stem.with_suffix(".copy"), stem.with_suffix(".json")
    if known.exists() and raw.exists() and (clean.exists() or not tidy):
        return Dataset(raw, clean, msgspec.json.decode(known.read_bytes(), type=Facts))
    existing = sample_emails(onto.clean, round(rows * share), onto.facts.accepted) if onto else []
    facts = write_leads(raw, rows, seed=seed, start=start, existing=existing, clean=clean if tidy else None)
    known.write_bytes(msgspec.json.encode(facts))
    return Dataset(raw, clean, facts)


def crc_of(emails: Iterable[str]) -> int:
    """``Facts.email_crc`` of addresses read back from a table."""
    return sum(zlib.crc32(e.encode()) for e in emails) % 2**64


def differences(report: ImportReport, facts: Facts) -> list[str]:
    """Where a report and the truth part; empty if they agree."""
    wrong: list[str] = []

    def same(what: str, said: Any, true: Any) -> None:
        if said != true:
            wrong.append(f"{what}: reported {said}, is {true}")

    for name in ("rows", "inserted", "existing", "duplicates", "rejected", "bytes"):
        same(name, getattr(report, name), getattr(facts, name))
    same("updated", report.updated, 0)
    same("suppressed", report.suppressed, 0)
    same("reasons", dict(sorted(report.reasons.items())), facts.reasons)
    same(
        "first rejected rows",
        [(p.line, p.reason) for p in report.problems],
        [(line, reason) for line, reason in facts.first_rejects[: len(report.problems)]],
    )
    true = dict(facts.first_duplicates)
    for line, first in report.duplicate_lines:
        if len(facts.first_duplicates) == facts.duplicates:
            same(f"duplicate on line {line}, first on line", first, true.get(line))
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.data", description="Write a realistic lead CSV.")
    parser.add_argument("path", type=Path)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument(
        "--start", type=int, default=0, help="number of the first lead (files with disjoint ranges share none)"
    )
    parser.add_argument("--clean", type=Path, help="also write the accepted rows as COPY text")
    args = parser.parse_args()
    began = time.perf_counter()
    facts = write_leads(args.path, args.rows, seed=args.seed, start=args.start, clean=args.clean)
    print(
        f"{facts.rows:,} rows, {facts.bytes:,} bytes in {time.perf_counter() - began:.1f} s: {facts.inserted:,} good, "
        f"{facts.duplicates:,} duplicates, {facts.rejected:,} cannot be imported",
        file=sys.stderr,
    )
    for reason, count in facts.reasons.items():
        print(f"  {reason:<26}{count:>9,}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
