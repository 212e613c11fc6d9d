"""Segments by the thousand: Hypothesis strategies shared by the tests of segments and of their SQL."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from hypothesis import strategies as st

from mailgenius import Attribute, Segment
from mailgenius.errors import ConfigError
from mailgenius.leads.model import STATUSES

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=8)
TEXTS = TEXT.filter(str.strip)
MOMENTS = st.datetimes(
    datetime(1990, 1, 1), datetime(2100, 1, 1), timezones=st.sampled_from([UTC, timezone(timedelta(hours=-3))])
)
DOMAINS = st.sampled_from(["gmail.com", "Bücher.example", "UOL.com.br"])
SCORES = st.integers(-(1 << 31), (1 << 31) - 1)
CAMPAIGNS = st.integers(1, (1 << 63) - 1)
DAYS = st.integers(1, 36_500)
EVENTS = [f"{no}{verb}" for no in ("", "not_") for verb in ("sent", "opened", "clicked")]


def attributes(names: st.SearchStrategy[str], values: st.SearchStrategy[Any]) -> st.SearchStrategy[Attribute]:
    orders = st.builds(
        Attribute, names, st.sampled_from(["<", "<=", ">", ">="]), values.filter(lambda v: not isinstance(v, bool))
    )
    equals = st.builds(Attribute, names, st.sampled_from(["=", "!="]), values)
    return st.one_of(orders, equals, st.builds(Attribute, names, st.just("exists")))


def valid(keywords: dict[str, Any]) -> Segment | None:
    """None for the few whose parts contradict one another."""
    try:
        return Segment(**keywords)
    except ConfigError as error:
        if "no lead could match" not in str(error):
            raise
        return None


def segments(
    *,
    tags: st.SearchStrategy[str] = TEXTS,
    texts: st.SearchStrategy[str] = TEXTS,
    domains: st.SearchStrategy[str] = DOMAINS,
    scores: st.SearchStrategy[int] = SCORES,
    moments: st.SearchStrategy[datetime] = MOMENTS,
    campaigns: st.SearchStrategy[int] = CAMPAIGNS,
    days: st.SearchStrategy[int] = DAYS,
    attribute: st.SearchStrategy[Attribute] | None = None,
    without: Collection[str] = (),
) -> st.SearchStrategy[Segment]:
    """Segments of every keyword but those ``without``, nested."""
    if attribute is None:
        numbers = st.integers(-(1 << 63), (1 << 63) - 1) | st.floats(allow_nan=False, allow_infinity=False)
        attribute = attributes(TEXTS, TEXT | numbers | st.booleans() | st.just(""))

    def some(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        return st.lists(values, min_size=1, max_size=3)

    plain: dict[str, st.SearchStrategy[Any]] = {
        **{name: some(tags) for name in ("tags_any", "tags_all", "tags_none")},
        **{name: texts | some(texts) for name in ("country", "city", "company")},
        "status": st.sampled_from(STATUSES) | some(st.sampled_from(STATUSES)),
        "email_domain": domains | some(domains),
        "score_min": scores,
        "score_max": scores,
        **{f"{which}_{end}": moments for which in ("created", "updated") for end in ("from", "before")},
        "attributes": some(attribute),
        **{f"{event}_in": campaigns | some(campaigns) for event in EVENTS},
        **{f"{event}_within": days for event in EVENTS},
    }

    def keywords(more: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[Segment]:
        choices = {name: values for name, values in {**plain, **more}.items() if name not in without}
        names = st.lists(st.sampled_from(sorted(choices)), max_size=3, unique=True)
        made = names.flatmap(lambda chosen: st.fixed_dictionaries({name: choices[name] for name in chosen}))
        return made.map(valid).filter(lambda segment: segment is not None)

    def nested(inner: st.SearchStrategy[Segment]) -> st.SearchStrategy[Segment]:
        groups = {name: some(inner) for name in ("all_of", "any_of", "none_of")}
        grown = st.sampled_from(sorted(groups)).flatmap(lambda name: groups[name].map(lambda g: Segment(**{name: g})))
        joined = st.builds(lambda a, b, both: a & b if both else a | b, inner, inner, st.booleans())
        return st.one_of(keywords(groups), grown, joined, inner.map(lambda segment: ~segment))

    return st.recursive(keywords({}), nested, max_leaves=6)
