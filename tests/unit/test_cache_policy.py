"""Regions: what contradicts itself is refused, with its path."""

from typing import Any

import msgspec
import pytest

from mailgenius.cache import SOURCE_REGIONS, Region, check_regions
from mailgenius.errors import ConfigError


class Recursive(msgspec.Struct):
    children: "list[Recursive]"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"ttl": 0}, r"\.ttl: 0 is out of range; give a value between 0\.001 and"),
        ({"ttl": float("nan")}, r"\.ttl: nan is out of range"),
        ({"ttl": "300"}, r"\.ttl: Expected `float`, got `str`"),
        ({"jitter": 0.6}, r"\.jitter: 0\.6 is out of range"),
        ({"serializer": "pickle"}, r"\.serializer: Invalid enum value 'pickle'"),
        ({"type": object}, r"\.type: msgspec cannot store <class 'object'>"),
        ({"type": dict[str, complex]}, r"\.type: msgspec cannot store <class 'complex'>"),
        ({"serializer": "raw", "type": str}, r'\.type: "raw" values are bytes'),
        ({"local_ttl": 301.0}, r"\.local_ttl: 301 is more than ttl \(300\)"),
        ({"local_ttl": 1.0, "local_size": 0}, r"\.local_ttl: there is no local layer"),
        ({"local_size": 1000}, r"\.local_size: 1000 bytes hold too little"),
        ({"negative_ttl": 301.0}, r"\.negative_ttl: 301 is more than ttl"),
        ({"stale_for": 60.0, "fail_safe": 30.0}, r"\.fail_safe: 30 is less than stale_for \(60\)"),
        ({"soft_timeout": 1.0}, r"\.soft_timeout: there is no stale value to serve"),
        (
            {"soft_timeout": 2.0, "hard_timeout": 2.0, "fail_safe": 60.0},
            r"\.soft_timeout: is not less than hard_timeout",
        ),
        ({"dictionary": b"x", "compress_from": None}, r"\.dictionary: nothing is compressed"),
        ({"dictionary": b"x"}, r"\.dictionary: is none that codec\.train made"),
        ({"old_dictionaries": (b"x",)}, r"\.old_dictionaries: is none that codec\.train made"),
        ({"together": "tenant"}, r'\.together: "tenant" needs a tenant'),
        ({"prefix": "a b"}, r"\.prefix: 'a b' holds a space"),
        ({"prefix": "{a}"}, r"\.prefix: '{a}' holds"),
        ({"prefix": "mg:x"}, r"\.prefix: names that begin with 'mg:' are for mailgenius"),
        ({"prefix": "m"}, r"\.prefix: names that begin with 'mg:' are for mailgenius"),
        ({"version": -1}, r"\.version: -1 is out of range"),
        ({"on_redis_down": "ignore"}, r"\.on_redis_down: Invalid enum value"),
    ],
)
def test_refusals(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=r"^\$\.cache\.lead" + message):
        Region(name="lead", **fields)


@pytest.mark.parametrize("name", ["", "1a", "a b", "a" * 65, None, 3])
def test_names(name: Any) -> None:
    with pytest.raises(ConfigError, match=r"^\$\.cache: .* is no name of a region"):
        Region(name=name)


def test_regions_do_not_reach_into_one_another() -> None:
    lead = Region(name="lead")
    with pytest.raises(ConfigError, match=r"^\$\.cache\.lead: there are two"):
        check_regions([lead, Region(name="lead", prefix="other:")])
    for prefix in ("lead:", "lead:x:", "le"):
        with pytest.raises(ConfigError, match=r"^\$\.cache\.other\.prefix: one of"):
            check_regions([lead, Region(name="other", prefix=prefix)])
    assert list(check_regions([lead, Region(name="leads")])) == ["lead", "leads"]


def test_the_ready_profile() -> None:
    found = {region.prefix: region.ttl for region in SOURCE_REGIONS.values()}
    assert found == {
        "session:user:": 3600,
        "api:response:": 300,
        "db:query:": 600,
        "template:": 1800,
        "lead:": 300,
        "campaign:stats:": 120,
    }


def test_a_region_can_be_changed_and_is_checked_again() -> None:
    lead = msgspec.structs.replace(SOURCE_REGIONS["lead"], ttl=60.0, type=Recursive)
    assert (lead.ttl, lead.prefix, lead.kept) == (60, "lead:", 0)
    with pytest.raises(ConfigError, match=r"\.local_ttl"):
        msgspec.structs.replace(lead, local_ttl=61.0)
    with pytest.raises(AttributeError):
        lead.ttl = 3  # type: ignore[misc]


def test_repr_shows_what_was_chosen() -> None:
    assert repr(Region(name="lead", ttl=60)) == "Region(name='lead', prefix='lead:', ttl=60)"
