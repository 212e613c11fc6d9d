"""What an e-mail platform asks of its leads, by kind, with parameters drawn by seed from a world.

A question is a call by name, so the same list serves ``Leads``, ``AsyncLeads`` and whoever wants to see the SQL behind it.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import msgspec

from mailgenius.leads import AsyncLeads, Leads, Segment
from mailgenius.leads.paging import ORDERS, cursor_to

from . import names
from .segments import COUNTS, NOT_SENT, days, drawn, since

if TYPE_CHECKING:
    from mailgenius.leads import Lead

    from .world import World

__all__ = ["COUNTS", "NOT_SENT", "Ask", "Kind", "Questions", "days"]

LOOKUPS, PAGES, PREFIX, KEPT = "lookups", "pages", "prefix search", "kept counters"
SUBSTRING, STATISTICS, ORDERED, WRITES = "substring search", "statistics", "other orders", "writes"
INDEXED = ("id", "email", "created_at", "score")  # orders whose pages are promised in milliseconds
SEED = 3


class Ask(msgspec.Struct, frozen=True):
    method: str
    args: tuple[Any, ...]
    keywords: dict[str, Any] = {}
    where: str = ""  # of a count: the same in plain SQL, over mailgenius.leads l
    params: dict[str, Any] = {}

    def of(self, leads: Leads | AsyncLeads) -> Any:
        """The answer, or what to await for it."""
        return getattr(leads, self.method)(*self.args, **self.keywords)

    def plain(self) -> tuple[str, dict[str, Any]]:
        """The statement that must give the same count."""
        params = self.params | {"workspace": self.args[0]}
        if "since" in params:
            params["since"] = since(params["since"])
        text = (
            "select count(*) from mailgenius.leads l"
            f" where workspace_id = (select id from mailgenius.workspaces where slug = %(workspace)s) and {self.where}"
        )
        return text, params

    @property
    def moves(self) -> bool:
        """Whether the answer depends on the time of day."""
        return "since" in self.params


class Kind(msgspec.Struct, frozen=True):
    name: str
    group: str
    asks: list[Ask]


class Questions:
    """``kinds(world, leads)`` of one seed. ``some``: leads of the largest workspace, by the number that they have."""

    def __init__(self, world: World, leads: Leads, *, counts: int = 12, sample: int = 1500) -> None:
        self.world = world
        self.big = world.largest.slug
        self.counts = counts
        self.rng = random.Random(SEED)
        emails = world.largest.emails
        found = (leads.get(self.big, email) for email in emails[:: max(1, len(emails) // sample)])
        self.some: list[Lead] = [lead for lead in found if lead is not None]
        self.has_campaign_stats = hasattr(leads, "campaign_stats")
        self.kinds = [*self._lookups(), *self._pages(), *self._searches(), *self._kept(), *self._counts()]

    def named(self, name: str) -> Kind:
        return next(kind for kind in self.kinds if kind.name == name)

    def group(self, *groups: str) -> list[Kind]:
        return [kind for kind in self.kinds if kind.group in groups]

    def _lookups(self) -> list[Kind]:
        rng, world = self.rng, self.world
        weights = [w.leads for w in world.workspaces]
        places = rng.choices(world.workspaces, weights, k=1000)
        there = [Ask("get", (w.slug, rng.choice(w.emails))) for w in places]
        absent = [Ask("get", (w.slug, f"nobody.{n}@gmail.com")) for n, w in enumerate(places)]
        by_id = [Ask("by_id", (self.big, rng.choice(self.some).id)) for _ in range(1000)]
        return [Kind("get", LOOKUPS, there), Kind("get, not there", LOOKUPS, absent), Kind("by_id", LOOKUPS, by_id)]

    def _pages(self) -> list[Kind]:
        def page(order: str, lead: Lead | None, *, descending: bool, back: bool = False, **more: Any) -> Ask:
            cursor = None if lead is None else cursor_to(lead, order, descending=descending, back=back)
            keywords = {"order": order, "descending": descending, "cursor": cursor}
            return Ask("page", (self.big, *more.get("segment", ())), keywords)

        def pages(order: str, leads: list[Lead], **more: Any) -> list[Ask]:
            return [page(order, self.rng.choice(leads), descending=self.rng.random() < 0.5, **more) for _ in range(300)]

        kinds = []
        for order in INDEXED:
            in_order = sorted(self.some, key=lambda lead: (getattr(lead, order), lead.id))
            last = in_order[-len(in_order) // 50 :]
            kinds += [
                Kind(f"page by {order}: first", PAGES, [page(order, None, descending=way) for way in (False, True)]),
                Kind(f"page by {order}: anywhere, next", PAGES, pages(order, in_order)),
                Kind(f"page by {order}: anywhere, previous", PAGES, pages(order, in_order, back=True)),
                Kind(
                    f"page by {order}: among the last",
                    PAGES,
                    [page(order, self.rng.choice(last), descending=False) for _ in range(100)],
                ),
            ]
        for order in INDEXED:
            asks = {"common": [], "rare": []}  # type: dict[str, list[Ask]]
            for _ in range(50):
                lead = self.rng.choice(self.some)
                country, company = lead.country, lead.company
                common = Segment(country=country) if self.rng.random() < 0.5 else Segment(tags_any=["newsletter"])
                rare = (
                    Segment(company=company) if company else Segment(city=lead.city, tags_all=["partner"], score_min=95)
                )
                for name, segment in (("common", common), ("rare", rare)):
                    start = None if self.rng.random() < 0.5 else self.rng.choice(self.some)
                    asks[name].append(page(order, start, descending=self.rng.random() < 0.5, segment=(segment,)))
            kinds += [Kind(f"page of a {name} segment by {order}", PAGES, found) for name, found in asks.items()]
        for order in ORDERS:
            if order not in INDEXED:
                asks_ = [page(order, None, descending=False), *pages(order, self.some)[:50]]
                kinds.append(Kind(f"page by {order}", ORDERED, asks_))
        return kinds

    def _searches(self) -> list[Kind]:
        def search(text: str) -> Ask:
            return Ask("search", (self.big, text))

        emails = [lead.email for lead in self.some]
        people = [f"{lead.first_name} {lead.last_name}" for lead in self.some if lead.first_name and lead.last_name]
        companies = [lead.company for lead in self.some if lead.company and "\n" not in lead.company]
        pick = self.rng.choice
        return [
            Kind(
                "search: two or three letters of an address",
                PREFIX,
                [search(pick(emails)[: pick((2, 3))]) for _ in range(300)],
            ),
            Kind("search: an address but for its end", PREFIX, [search(pick(emails)[:-4]) for _ in range(300)]),
            Kind("search: a whole name", SUBSTRING, [search(pick(people)) for _ in range(100)]),
            Kind("search: a whole company", SUBSTRING, [search(pick(companies)) for _ in range(100)]),
            Kind(
                "search: a frequent word of companies",
                SUBSTRING,
                [search(word.lower()[1:]) for word in names.COMPANY_TAILS],
            ),
            Kind("search: what nobody has", SUBSTRING, [search(f"{a}q{b}zx") for a in "kjxv" for b in "wyhb"]),
        ]

    def _kept(self) -> list[Kind]:
        everywhere = [w.slug for w in self.world.workspaces]
        found = [
            Kind("count of all", KEPT, [Ask("count", (slug,)) for slug in everywhere]),
            Kind("stats of the largest workspace", STATISTICS, [Ask("stats", (self.big,))]),
            Kind("stats of the others", STATISTICS, [Ask("stats", (slug,)) for slug in everywhere[1:]]),
        ]
        if self.has_campaign_stats:
            asks = [Ask("campaign_stats", (c.workspace, c.id)) for c in self.world.campaigns]
            found.append(Kind("campaign_stats", KEPT, asks))
        return found

    def _counts(self) -> list[Kind]:
        made = drawn(self.world, self.some, self.rng, self.counts)
        kinds = [
            Kind(
                name, group, [Ask("count", (self.big, segment), {}, where, params) for segment, where, params in pairs]
            )
            for name, (group, pairs) in made.items()
        ]
        asks = [Ask("estimate", ask.args) for kind in kinds for ask in kind.asks[:3]]
        return [*kinds, Kind("estimate of any segment", KEPT, asks)]

    def writes(self, turns: int) -> list[Kind]:
        """Changes of some 1,000 leads each, to be made in this order, one of each kind in turn."""
        companies = sorted({lead.company for lead in self.some if lead.company})
        a_thousand = 5 if self.world.largest.leads > 100_000 else 200
        picked = [Segment(company=self.rng.sample(companies, a_thousand)) for _ in range(turns)]
        return [
            Kind("tag about 1,000 leads", WRITES, [Ask("tag", (self.big, s, ["bench"])) for s in picked]),
            Kind("untag them", WRITES, [Ask("untag", (self.big, s, ["bench"])) for s in picked]),
            Kind(
                "update_many of about 1,000 leads",
                WRITES,
                [Ask("update_many", (self.big, s, {"score": n % 101})) for n, s in enumerate(picked)],
            ),
        ]
