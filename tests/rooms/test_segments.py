"""Segments against PostgreSQL: whatever a segment says, its SQL finds what a plain Python predicate finds."""

from __future__ import annotations

import copy
import json
import random
import re
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict
from psycopg.types.json import Jsonb

from mailgenius import Attribute, Segment
from mailgenius.leads import Leads
from mailgenius.leads.attribute import OPERATORS
from mailgenius.leads.model import STATUSES
from mailgenius.leads.segment_bits import compile_bits
from mailgenius.leads.segment_sql import compile as compile_segment
from mailgenius.leads.sql import query
from mailgenius.pool import Pool
from tests.conftest import new_database
from tests.unit.segments import attributes, segments

NOW = datetime(2026, 3, 15, 12, tzinfo=UTC)
NASTY = [
    "'", '"', "%", "%s", "%(workspace)s", "\\", "\\'", "a'); drop table mailgenius.leads; --", "' or true or '", "{a,b}",
    "é", "e\u0301", "日本", "a\nb", "$1", "😀", "NULL", ",", "*/", "a b",
]  # fmt: skip
TAGS = ["vip", "new", "VIP", *NASTY[:6]]
TEXTS = ["BR", "br", "São Paulo", *NASTY[6:11]]
DOMAINS = ["gmail.com", "uol.com.br", "xn--bcher-kva.example"]
NAMES = ["plan", "visits", "it's", "%s", "not indexed"]
VALUES = [
    "pro", "Pro", "10", "10.0", "9", "-3", "1e5", "١٢", "10\n", "+10", ".5", "9" * 500, "", "true", "null", "é", "zz",
    "1", "1.0", "01", "\"pro", "x" * 198, "x" * 199, "sha256:", "\U00010000", "\uffff", *NASTY[:3],
    1, 10, 9, -3, 0, 0.1, 10.5, 1e-300, 1e300, True, False,
]  # fmt: skip
LONG = ["9" * 500, 1e-300, 1e300]  # in all their digits
SHORT = [*(value for value in VALUES if value not in LONG), 1.0, 10.50, None, [10], ["pro"], {"plan": "pro"}, 10**190]
STORED = [*VALUES, *SHORT, 123456789012345678, 10**399, 10**450, "x" * 250]
STORABLE = {"plan": STORED, "visits": SHORT, "it's": STORED, "%s": SHORT}  # bitmaps do not compare what is longer
DAYS = [NOW - timedelta(days=days) for days in (0, 1, 7, 30, 31, 90, 200, 400)]
CAMPAIGNS = [1, 2, 3]
MISSING = object()
POOLED = settings(deadline=None, suppress_health_check=list(HealthCheck))  # a query takes what it takes

FITTING = segments(
    tags=st.sampled_from(TAGS),
    texts=st.sampled_from(TEXTS),
    domains=st.sampled_from(["Gmail.com", "uol.com.br", "bücher.example", "none.example"]),
    scores=st.integers(-2, 12),
    moments=st.sampled_from(DAYS),
    campaigns=st.sampled_from(CAMPAIGNS),
    days=st.sampled_from([1, 7, 30, 90, 365]),
    attribute=attributes(st.sampled_from(NAMES), st.sampled_from(VALUES)),
)


COUNTED = segments(
    tags=st.sampled_from(TAGS),
    texts=st.sampled_from(TEXTS),
    scores=st.integers(-2, 12),
    campaigns=st.sampled_from(CAMPAIGNS),
    days=st.sampled_from([1, 7, 30, 90, 365]),
    attribute=attributes(st.sampled_from(["visits", "%s"]), st.sampled_from(VALUES)),
    without=(
        *("city", "company", "email_domain"),
        *("created_from", "created_before", "updated_from", "updated_before"),
    ),
)


class Shop:
    """A workspace with leads, sends and activities, in PostgreSQL and as Python objects."""

    def __init__(self, pool, slug, *, leads, seed):
        self.pool = pool
        self.number = Leads(pool).ensure_workspace(slug)
        self.sends = defaultdict(list)
        self.activities = defaultdict(list)
        pick = random.Random(seed)
        self.leads = [self._lead(pick, number) for number in range(1, leads + 1)]
        sends = [(pick.randint(1, leads), pick.choice(CAMPAIGNS), pick.choice(DAYS)) for _ in range(leads)]
        activities = [
            (pick.randint(1, leads), pick.choice([*CAMPAIGNS, None]), pick.choice(["open", "click", "bounce"]), at)
            for at in pick.choices(DAYS, k=2 * leads)
        ]
        for lead, campaign, at in sends:
            self.sends[lead].append((campaign, at))
        for lead, campaign, kind, at in activities:
            self.activities[lead].append((kind, campaign, at))
        with pool.transaction() as connection, connection.cursor() as cursor:
            columns = list(self.leads[0])
            cursor.executemany(
                f"insert into mailgenius.leads (workspace_id, {', '.join(columns)}) values (%s{', %s' * len(columns)})",
                [(self.number, *(lead | {"attributes": Jsonb(lead["attributes"])}).values()) for lead in self.leads],
            )
            cursor.executemany(
                "insert into mailgenius.email_sends (workspace_id, lead_id, campaign_id, created_at, email)"
                " values (%s, %s, %s, %s, '')",
                [(self.number, *send) for send in sends],
            )
            cursor.executemany(
                "insert into mailgenius.lead_activities (workspace_id, lead_id, campaign_id, kind, created_at)"
                " values (%s, %s, %s, %s, %s)",
                [(self.number, *activity) for activity in activities],
            )

    @staticmethod
    def _lead(pick, number):
        def text():
            return pick.choice([*TEXTS, None, None])

        return {
            "id": number,
            "email": f"p{number}@{pick.choice(DOMAINS)}",
            "country": text(),
            "city": text(),
            "company": text(),
            "status": pick.choice(STATUSES),
            "score": pick.randint(-1, 11),
            "tags": pick.sample(TAGS, pick.randint(0, 3)),
            "attributes": {name: pick.choice(STORABLE.get(name, STORED)) for name in NAMES if pick.random() < 0.7},
            "created_at": pick.choice(DAYS),
            "updated_at": pick.choice(DAYS),
        }

    def found(self, segment):
        condition, params = compile_segment(segment, NOW)
        query = (
            "select coalesce(array_agg(l.id order by l.id), '{}') from mailgenius.leads l"
            f" where l.workspace_id = %(workspace)s::int4 and {condition}"
        )
        return self.pool.fetch_value(query, params | {"workspace": self.number})

    def counted(self, segment):
        """How many the bitmaps find; None where they cannot tell."""
        bits = compile_bits(segment, NOW)
        if bits is None:
            return None
        return self.pool.fetch_value(query("lead_count_bits", **bits.parts), bits.params | {"workspace": self.number})

    def expected(self, segment):
        return [lead["id"] for lead in self.leads if self.holds(segment, lead)]

    def holds(self, segment, lead):
        return all(self.condition(name, value, lead) for name, value in segment.given().items())

    def condition(self, name, value, lead):
        match name.split("_"):
            case ["tags", "any"]:
                return any(tag in lead["tags"] for tag in value)
            case ["tags", "all"]:
                return all(tag in lead["tags"] for tag in value)
            case ["tags", "none"]:
                return not any(tag in lead["tags"] for tag in value)
            case ["email", "domain"]:
                return lead["email"].split("@")[1] in value
            case ["score", "min"]:
                return lead["score"] >= value
            case ["score", "max"]:
                return lead["score"] <= value
            case ["created" | "updated" as which, "from"]:
                return lead[f"{which}_at"] >= value
            case ["created" | "updated" as which, "before"]:
                return lead[f"{which}_at"] < value
            case ["attributes"]:
                return all(attribute_holds(attribute, lead["attributes"]) for attribute in value)
            case ["all", "of"]:
                return all(self.holds(group, lead) for group in value)
            case ["any", "of"]:
                return any(self.holds(group, lead) for group in value)
            case ["none", "of"]:
                return not any(self.holds(group, lead) for group in value)
            case ["not", *rest]:
                return not self.condition("_".join(rest), value, lead)
            case [verb, "in"]:
                return any(campaign in value for campaign, _ in self.events(verb, lead))
            case [verb, "within"]:
                return any(at.date() >= NOW.date() - timedelta(days=value) for _, at in self.events(verb, lead))
        return lead[name] in value

    def events(self, verb, lead):
        if verb == "sent":
            return self.sends[lead["id"]]
        wanted = {"opened": "open", "clicked": "click"}[verb]
        return [(campaign, at) for kind, campaign, at in self.activities[lead["id"]] if kind == wanted]


def is_number(value):
    return isinstance(value, int | float) and not isinstance(value, bool)


def decimal(value):
    """A stored value as a number, if it is one, or spells one in at most 400 characters."""
    if is_number(value):
        return Decimal(repr(value))
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", value) and len(value) <= 400:
        return Decimal(value)
    return None


def attribute_holds(attribute, stored):
    there, wanted = stored.get(attribute.name, MISSING), attribute.value
    if attribute.op == "exists":
        return there is not MISSING and there is not None
    if attribute.op in ("=", "!="):
        same = type(there) is type(wanted) and there == wanted
        if is_number(wanted):
            plain = str(int(wanted)) if wanted == int(wanted) else repr(wanted)
            same = (is_number(there) and there == wanted) or there == plain
        return same is (attribute.op == "=")
    if isinstance(wanted, str):
        left, right = (there.encode(), wanted.encode()) if isinstance(there, str) else (None, None)
    else:
        left, right = decimal(there), decimal(wanted)
    if left is None:
        return False
    return {"<": left < right, "<=": left <= right, ">": left > right, ">=": left >= right}[attribute.op]


@pytest.fixture(scope="module")
def stock(postgres_server, _template):
    """The leads of another workspace have the same numbers. Attributes are indexed, one of them before there are leads."""
    with new_database(postgres_server, _template) as conninfo:
        with Pool(conninfo) as pool:
            Leads(pool).index_attributes("plan")
            for table in ("email_sends", "lead_activities"):
                for month in ("2026-03-01", "2026-02-01", "2025-12-01"):
                    pool.execute("select mailgenius.create_month(%s, %s::date)", (table, month))
            Shop(pool, "other", leads=200, seed=2)
            made = Shop(pool, "acme", leads=500, seed=1)
            Leads(pool).index_attributes(*STORABLE)
        made.pool = None
        yield conninfo_to_dict(conninfo)["dbname"], made


@pytest.fixture
def database(postgres_server, stock):
    with new_database(postgres_server, stock[0]) as conninfo:
        yield conninfo


@pytest.fixture
def shop(stock, pool):
    made = copy.deepcopy(stock[1])
    made.pool = pool
    return made


def test_every_segment(shop):
    @given(FITTING)
    @settings(POOLED, max_examples=500)
    def check(segment):
        expected = shop.expected(segment)
        assert shop.found(segment) == expected
        assert shop.counted(segment) in (None, len(expected))
        everyone = {lead["id"] for lead in shop.leads}
        assert shop.found(~segment) == sorted(everyone - set(expected))
        assert shop.found(Segment.from_json(segment.to_json())) == expected

    check()


def test_bitmaps_count_every_segment_of_theirs(shop):
    @given(COUNTED)
    @settings(POOLED, max_examples=200)
    def check(segment):
        assert shop.counted(segment) == len(shop.expected(segment))
        assert shop.counted(~segment) == len(shop.expected(~segment))

    check()


@pytest.mark.parametrize("score", [-(1 << 31), (1 << 31) - 1, -1, 0, 1, 5, 1 << 20])
def test_bitmaps_count_any_score(shop, pool, score):
    """Ranges next to each score, with scores of every size there."""
    given = [-(1 << 31), (1 << 31) - 1, -1000, 1000, 1 << 20, -(1 << 20)]
    pool.execute(
        "insert into mailgenius.leads (workspace_id, id, email, score)"
        " select %s::int4, 5000 + n, n || '@score.example', score from unnest(%s::int4[]) with ordinality given(score, n)",
        (shop.number, given),
    )
    for limit in (score - 1, score, score + 1):
        if -(1 << 31) <= limit < 1 << 31:
            for segment in (Segment(score_min=limit), Segment(score_max=limit)):
                assert shop.counted(segment) == len(shop.found(segment)), segment


def test_what_bitmaps_cannot_tell_is_counted_row_by_row(shop):
    leads = Leads(shop.pool)
    for segment in (Segment(city="BR"), Segment(country="BR", attributes=[Attribute("not indexed", "exists")])):
        assert shop.counted(segment) is None
        assert leads.count("acme", segment) == len(shop.expected(segment))
    many = Segment(any_of=[Segment(tags_any=[str(number)]) for number in range(100)])
    assert shop.counted(many) is None
    assert leads.count("acme", many) == 0


def test_operators(shop):
    @given(FITTING, FITTING)
    @settings(POOLED, max_examples=100)
    def check(a, b):
        one, other = set(shop.found(a)), set(shop.found(b))
        assert shop.found(a & b) == sorted(one & other)
        assert shop.found(a | b) == sorted(one | other)
        assert shop.found(a & ~b) == sorted(one - other)
        assert shop.found(~(a | b)) == shop.found(~a & ~b)

    check()


@pytest.mark.parametrize("name", ["plan", "visits", "not indexed"])
def test_every_attribute(shop, name):
    """Each operator with each value meets each stored value, row by row and in bitmaps."""
    shop.pool.execute(
        "update mailgenius.leads set attributes = attributes || jsonb_build_object(%s::text, value)"
        " from unnest(%s::jsonb[]) with ordinality as given (value, n) where workspace_id = %s and id = n",
        (name, [json.dumps(value) for value in STORABLE.get(name, STORED)], shop.number),
    )
    for lead, value in zip(shop.leads, STORABLE.get(name, STORED), strict=False):
        lead["attributes"][name] = value
    known = {"plan": ("=", "!=", "exists"), "visits": OPERATORS, "not indexed": ()}[name]
    for op in OPERATORS:
        for value in VALUES if op != "exists" else [None]:
            if isinstance(value, bool) and op not in ("=", "!="):
                continue
            segment = Segment(attributes=[Attribute(name, op, value)])
            for one in (segment, ~segment):
                expected = shop.expected(one)
                assert shop.found(one) == expected, str(one)
                assert shop.counted(one) == (len(expected) if op in known else None), str(one)


def test_any_text_is_data(shop, pool):
    """Each nasty string, as every kind of text, finds the one lead that has it and changes nothing."""
    workspace = shop.number = Leads(pool).ensure_workspace("nasty")
    pool.execute(
        "insert into mailgenius.leads (workspace_id, id, email, country, city, company, tags, attributes)"
        " select %s::int4, n, n || '@example.com', t, t, t, array[t], jsonb_build_object(t, t)"
        " from unnest(%s::text[]) with ordinality as given(t, n)",
        (workspace, NASTY),
    )
    for number, text in enumerate(NASTY, 1):
        for segment in (
            Segment(country=text),
            Segment(city=[text, "nowhere"]),
            Segment(company=text),
            Segment(tags_any=[text]),
            Segment(tags_all=[text]),
            Segment(attributes=[Attribute(text, "=", text)]),
            Segment(attributes=[Attribute(text, "exists")]),
            Segment(attributes=[Attribute(text, ">=", text)]),
        ):
            assert shop.found(segment) == [number], segment
        assert len(shop.found(Segment(tags_none=[text]))) == len(NASTY) - 1
    assert pool.fetch_value("select count(*) from mailgenius.leads where workspace_id = %s", (workspace,)) == len(NASTY)


def plan(shop, segment, *settings):
    condition, params = compile_segment(segment, NOW, "lead")
    query = (
        "explain (format json) select count(*) from mailgenius.leads lead"
        f" where lead.workspace_id = %(workspace)s::int4 and {condition}"
    )
    with shop.pool.transaction() as connection:
        for setting in settings:
            connection.execute(f"set local {setting}")
        return json.dumps(connection.execute(query, params | {"workspace": shop.number}).fetchone())


@pytest.mark.parametrize(
    "segment",
    [
        Segment(not_sent_in=1),
        ~Segment(sent_in=[1, 2]),
        Segment(country="BR", none_of=[Segment(opened_within=30)]),
        ~(Segment(sent_in=1) | Segment(clicked_within=7)),
    ],
    ids=str,
)
def test_not_sent_is_an_anti_join(shop, segment):
    assert re.search('"Join Type": "(Right )?Anti"', plan(shop, segment))


def test_within_reads_only_the_months_it_needs(shop):
    recent = plan(shop, Segment(sent_within=7, opened_within=7))
    for table in ("email_sends", "lead_activities"):
        assert f"{table}_2026_03" in recent
        assert f"{table}_2026_02" not in recent
        assert f"{table}_2025_12" not in recent
    assert "email_sends_2025_12" in plan(shop, Segment(sent_in=1))


@pytest.mark.parametrize(
    ("index", "segment"),
    [
        ("using gin (attributes)", Segment(attributes=[Attribute("plan", "=", "pro")])),
        ("using gin (attributes)", Segment(attributes=[Attribute("plan", "=", 10)])),
        ("using gin (attributes)", Segment(attributes=[Attribute("plan", "exists")])),
        ("using gin (tags)", Segment(tags_any=["vip"])),
        ("using gin (tags)", Segment(tags_all=["vip", "new"])),
        ("(workspace_id, country)", Segment(country=["BR", "PT"])),
        ("(score)", Segment(score_min=3)),
        ("(score)", ~Segment(score_min=3)),
        ("(status)", Segment(status="active")),
        ("(created_at)", Segment(created_before=NOW)),
        ("(split_part(email, '@', -1))", Segment(email_domain="gmail.com")),
    ],
    ids=str,
)
def test_an_index_can_serve_it(shop, pool, index, segment):
    """With no other index to choose. A parameter of the wrong type would leave it aside."""
    pool.execute("alter table mailgenius.leads drop constraint leads_pkey, drop constraint leads_email")
    pool.execute(f"create index served on mailgenius.leads {index}")
    found = plan(shop, segment, "enable_seqscan = off")
    assert re.search('"Index Name": "served".*?"Index Cond": ', found)
