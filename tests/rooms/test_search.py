"""Search by a part of a name finds what ILIKE over all leads finds, whatever was written, merged or rolled back before."""

from __future__ import annotations

import random

import pytest

from mailgenius.leads import Leads

WORDS = [
    "Ana",
    "ANA",
    "Zoë",
    "souza",
    "İstanbul",
    "ǅ",
    "O'Neil",
    "50%",
    "a_b",
    "\\",
    "日本",
    "Lima\nFilhos",
    "",
    "x" * 3000,
]
NEEDLES = ["an", "ANA S", "zoë", "i", "İ", "ǆ", "o'n", "%", "_", "\\", "本", "lima", "filhos", "x" * 50, "nobody", "a"]

MISSED = """
select l.id from mailgenius.leads l
where (first_name is not null or last_name is not null or company is not null)
  and not exists (
    select from mailgenius.lead_texts t
    where t.workspace_id = l.workspace_id and t.block = l.id >> 7
      and strpos(t.texts, mailgenius.search_line(first_name, last_name, company)) > 0)
limit 5
"""


def expected(pool, needle):
    pattern = "%" + needle.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_") + "%"
    return [
        found
        for (found,) in pool.fetch(
            "select id from mailgenius.leads where workspace_id = 1 and not starts_with(email, lower(%(needle)s))"
            " and (coalesce(first_name || ' ', '') || coalesce(last_name, '') ilike %(pattern)s"
            " or company ilike %(pattern)s)"
            " order by id limit 1000",
            {"needle": needle, "pattern": pattern},
        )
    ]


@pytest.fixture
def leads(pool):
    made = Leads(pool)
    assert made.ensure_workspace("acme") == 1
    made.ensure_workspace("other")
    return made


def insert(pool, pick, workspace, count, start):
    def words():
        return [pick.choice([None, *WORDS]) for _ in range(count)]

    pool.execute(
        "insert into mailgenius.leads (workspace_id, email, first_name, last_name, company)"
        " select %s::int4, 'p' || %s::int4 + n || '@e.org', a, b, c"
        " from unnest(%s::text[], %s::text[], %s::text[]) with ordinality as given (a, b, c, n)",
        (workspace, start, words(), words(), words()),
    )


def check(leads, pool):
    assert pool.fetch(MISSED) == []
    for needle in NEEDLES:
        found = [lead.id for lead in leads.search("acme", needle, 1000) if not lead.email.startswith(needle.lower())]
        assert found == expected(pool, needle), needle


def test_whatever_was_written(leads, pool):
    pick = random.Random(3)
    for start in (0, 300, 600):
        insert(pool, pick, 1, 300, start)
        insert(pool, pick, 2, 40, start)
    check(leads, pool)
    for statement in (
        "update mailgenius.leads set first_name = last_name, last_name = null where id % 3 = 0",
        "update mailgenius.leads set company = 'Renamed ' || id where id % 5 = 0",
        "update mailgenius.leads set score = 5",
        "update mailgenius.leads set id = id + 5000 where id % 7 = 0",
        "delete from mailgenius.leads where id % 4 = 0",
        "select mailgenius.fold_lead_texts(w, 0, 100) from generate_series(1, 2) w",
        "select mailgenius.rebuild_lead_texts()",
    ):
        pool.execute(statement)
        check(leads, pool)
    pool.execute("truncate mailgenius.leads")
    assert leads.search("acme", "a") == []
    assert pool.fetch_value("select count(*) from mailgenius.lead_texts") == 0


def test_names_written_one_by_one_are_folded(leads, pool):
    pick = random.Random(5)
    for number in range(300):
        insert(pool, pick, 1, 1, number)
    for number in range(40):
        pool.execute("update mailgenius.leads set company = %s where id = 7", (f"name {number}",))
    pool.execute("select mailgenius.fold_lead_texts(1, 0, 100)")
    assert pool.fetch_value("select count(*) from mailgenius.lead_texts") <= 12
    assert pool.fetch_value("select count(*) from mailgenius.lead_texts where strpos(texts, 'name 3') > 0") >= 1
    check(leads, pool)
