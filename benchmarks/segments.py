"""Ad-hoc counts: segments with parameters drawn by seed, each beside a plain SQL condition that says the same and was
written without mailgenius. ``drawn()`` gives them by kind."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeAlias

from mailgenius.leads import Attribute, Segment

from . import names
from .world import ATTRIBUTES, NOW

if TYPE_CHECKING:
    import random

    from mailgenius.leads import Lead

    from .world import World

COUNTS, NOT_SENT, NOT_INDEXED = "ad-hoc counts", "not sent", "attributes that are not indexed"
Pair: TypeAlias = tuple[Segment, str, dict[str, Any]]

SENT = (
    "{}exists (select from mailgenius.email_sends s where s.workspace_id = l.workspace_id and s.lead_id = l.id and {})"
)
DID = (
    "{}exists (select from mailgenius.lead_activities a where a.workspace_id = l.workspace_id and a.lead_id = l.id"
    " and a.kind = '{}' and {})"
)
IN, SINCE = "campaign_id = %(c)s", "created_at >= %(since)s"


def days(wanted: int) -> int:
    """Days back from today that reach as far as ``wanted`` days back from NOW: the world grows old, its answers do not."""
    return (datetime.now(UTC) - NOW).days + wanted


def since(back: int) -> datetime:
    return datetime.now(UTC) - timedelta(days=back)


def drawn(world: World, some: list[Lead], rng: random.Random, count: int) -> dict[str, tuple[str, list[Pair]]]:
    """By kind: its group, and ``count`` segments of the largest workspace."""
    countries = sorted({place[1] for place in names.PLACES})
    cities = [place[0] for place in names.PLACES]
    tags = sorted({tag for line in names.TAGS for tag in line.split(";") if tag})
    campaigns = [c for c in world.campaigns if c.workspace == world.largest.slug]
    choice, between = rng.choice, rng.randint

    def campaign() -> int:
        return choice(campaigns).id

    def country() -> Pair:
        c = choice(countries)
        return Segment(country=c), "country = %(country)s", {"country": c}

    def several_countries() -> Pair:
        c = sorted(rng.sample(countries, 3))
        return Segment(country=c), "country in (%(a)s, %(b)s, %(d)s)", dict(zip("abd", c, strict=True))

    def score() -> Pair:
        low = between(0, 90)
        high = between(low, 100)
        return Segment(score_min=low, score_max=high), "score between %(low)s and %(high)s", {"low": low, "high": high}

    def tags_any() -> Pair:
        a, b = rng.sample(tags, 2)
        return Segment(tags_any=[a, b]), "(%(a)s = any (tags) or %(b)s = any (tags))", {"a": a, "b": b}

    def tags_all() -> Pair:
        a = choice(("webinar", "vip", "partner"))
        b = {"webinar": "newsletter", "vip": choice(("newsletter", "partner")), "partner": "vip"}[a]
        return Segment(tags_all=[a, b]), "%(a)s = any (tags) and %(b)s = any (tags)", {"a": a, "b": b}

    def tags_none() -> Pair:
        a, b = rng.sample(tags, 2)
        return Segment(tags_none=[a, b]), "%(a)s <> all (tags) and %(b)s <> all (tags)", {"a": a, "b": b}

    def status() -> Pair:
        s = choice(("active", "unsubscribed", "bounced", "complained"))
        return Segment(status=s), "status = %(status)s", {"status": s}

    def city() -> Pair:
        c = choice(cities)
        return Segment(city=c), "city = %(city)s", {"city": c}

    def company() -> Pair:
        c = choice([lead.company for lead in some if lead.company])
        return Segment(company=c), "company = %(company)s", {"company": c}

    def domain() -> Pair:
        d = choice([name for name, _ in names.FREE_MAIL] + [lead.email.partition("@")[2] for lead in some[:15]])
        return Segment(email_domain=d), "email like %(domain)s", {"domain": f"%@{d}"}

    def attribute() -> Pair:
        plan = choice(sorted(set(names.PLANS)))
        return Segment(attributes=[Attribute("Plan", "=", plan)]), "attributes ->> 'Plan' = %(plan)s", {"plan": plan}

    def attribute_exists() -> Pair:
        name = choice(ATTRIBUTES)
        return Segment(attributes=[Attribute(name, "exists")]), "attributes ->> %(name)s is not null", {"name": name}

    def attribute_compared() -> Pair:
        name, bound = choice(ATTRIBUTES), choice(("b", "g", "p", "q", "u"))
        condition = 'attributes ->> %(name)s collate "C" >= %(bound)s'
        return Segment(attributes=[Attribute(name, ">=", bound)]), condition, {"name": name, "bound": bound}

    def another_attribute() -> Pair:
        day = f"{between(1, 28):02}.{between(1, 12):02}."
        condition = "attributes ->> 'birthday' = %(day)s"
        return Segment(attributes=[Attribute("birthday", "=", day)]), condition, {"day": day}

    def created() -> Pair:
        low = datetime(2019, 1, 1, tzinfo=UTC) + timedelta(days=between(0, 2300))
        high = low + timedelta(days=choice((7, 30, 365)))
        condition = "created_at >= %(low)s and created_at < %(high)s"
        return Segment(created_from=low, created_before=high), condition, {"low": low, "high": high}

    def country_tag_score() -> Pair:
        c, t, low = choice(countries), choice(tags), between(20, 90)
        condition = "country = %(c)s and %(t)s = any (tags) and score >= %(low)s"
        return Segment(country=c, tags_any=[t], score_min=low), condition, {"c": c, "t": t, "low": low}

    def city_and_plan() -> Pair:
        c, plan = choice(cities), choice(sorted(set(names.PLANS)))
        condition = "city = %(c)s and attributes ->> 'Plan' = %(plan)s"
        return Segment(city=c, attributes=[Attribute("Plan", "=", plan)]), condition, {"c": c, "plan": plan}

    def event(keyword: str, condition: str) -> Callable[[], Pair]:
        def pair() -> Pair:
            number = campaign()
            return Segment(**{keyword: number}), condition, {"c": number}

        return pair

    def within(keyword: str, condition: str, *choices: int) -> Callable[[], Pair]:
        def pair() -> Pair:
            back = days(choice(choices))
            return Segment(**{keyword: back}), condition, {"since": back}

        return pair

    def active_not_sent() -> Pair:
        number, c = campaign(), choice(countries)
        condition = f"status = 'active' and country = %(country)s and {SENT.format('not ', IN)}"
        return Segment(status="active", country=c, not_sent_in=number), condition, {"country": c, "c": number}

    def sent_not_opened() -> Pair:
        number = campaign()
        condition = f"{SENT.format('', IN)} and {DID.format('not ', 'open', IN)}"
        return Segment(sent_in=number, not_opened_in=number), condition, {"c": number}

    def nested() -> Pair:
        a, t, low, number = choice(countries), choice(tags), between(50, 95), campaign()
        segment = (Segment(country=a) | Segment(tags_any=[t])) & ~(
            Segment(score_max=low) & (Segment(status="unsubscribed") | Segment(opened_in=number))
        )
        condition = (
            "(coalesce(country = %(a)s, false) or %(t)s = any (tags)) and not (score <= %(low)s and"
            f" (status = 'unsubscribed' or {DID.format('', 'open', IN)}))"
        )
        return segment, condition, {"a": a, "t": t, "low": low, "c": number}

    made: dict[str, tuple[str, Callable[[], Pair]]] = {
        "count: country": (COUNTS, country),
        "count: any of three countries": (COUNTS, several_countries),
        "count: score range": (COUNTS, score),
        "count: tags, any of two": (COUNTS, tags_any),
        "count: tags, all of two": (COUNTS, tags_all),
        "count: tags, none of two": (COUNTS, tags_none),
        "count: status": (COUNTS, status),
        "count: city": (COUNTS, city),
        "count: company": (COUNTS, company),
        "count: e-mail domain": (COUNTS, domain),
        "count: attribute equals": (COUNTS, attribute),
        "count: attribute exists": (COUNTS, attribute_exists),
        "count: attribute compared": (COUNTS, attribute_compared),
        "count: attribute that is not indexed": (NOT_INDEXED, another_attribute),
        "count: created in a range": (COUNTS, created),
        "count: country, tag and score": (COUNTS, country_tag_score),
        "count: city and attribute": (COUNTS, city_and_plan),
        "count: sent in a campaign": (COUNTS, event("sent_in", SENT.format("", IN))),
        "count: opened in a campaign": (COUNTS, event("opened_in", DID.format("", "open", IN))),
        "count: clicked in a campaign": (COUNTS, event("clicked_in", DID.format("", "click", IN))),
        "count: not opened in a campaign": (COUNTS, event("not_opened_in", DID.format("not ", "open", IN))),
        "count: sent in the last days": (COUNTS, within("sent_within", SENT.format("", SINCE), 7, 30)),
        "count: opened in the last days": (COUNTS, within("opened_within", DID.format("", "open", SINCE), 7, 30, 90)),
        "count: not opened in the last days": (
            COUNTS,
            within("not_opened_within", DID.format("not ", "open", SINCE), 30, 90),
        ),
        "count: sent in a campaign, not opened": (COUNTS, sent_not_opened),
        "count: groups in groups in groups": (COUNTS, nested),
        "count: not sent in a campaign": (NOT_SENT, event("not_sent_in", SENT.format("not ", IN))),
        "count: active of a country, not sent": (NOT_SENT, active_not_sent),
        "count: not sent in the last days": (NOT_SENT, within("not_sent_within", SENT.format("not ", SINCE), 7, 30)),
    }
    found: dict[str, tuple[str, list[Pair]]] = {}
    for name, (group, pair) in made.items():
        different: dict[str, Pair] = {}
        for _ in range(count * 3):
            one = pair()
            if len(different) < count:
                different.setdefault(str(one[2]), one)
        found[name] = group, list(different.values())
    return found
