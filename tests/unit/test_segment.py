"""Segment: what it refuses and where it says so, how it prints, that it survives storing, how operators combine."""

from __future__ import annotations

import copy
import datetime
import enum
import json
import pickle
import re
from datetime import UTC, timedelta, timezone

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mailgenius
from mailgenius import Attribute, Segment
from mailgenius.errors import ConfigError
from mailgenius.leads.segment import MAX_CONDITIONS, MAX_DEPTH, describe
from mailgenius.leads.segment_sql import compile as compile_segment
from tests.unit.segments import segments

NOW = datetime.datetime(2026, 3, 1, tzinfo=UTC)
NAMES = {"Segment": Segment, "Attribute": Attribute, "datetime": datetime}
REFUSED = {
    "tags_any": [
        ([], "is an empty list"),
        ("vip", "expected a list, got str"),
        (["a", ""], r"[1]: is empty"),
        (["  "], "[0]: is empty"),
        ([1], "[0]: expected str, got int"),
        (["a\0"], "[0]: 'a\\x00' holds a NUL"),
        (["\ud800"], "[0]: '\\ud800' holds half of a surrogate pair"),
        ({"a"}, "expected a list, got set"),
        (["a"] * 10_001, "has 10001 values; give at most 10000"),
    ],
    "country": [("", "is empty"), ([], "is an empty list"), (["BR", 5], "[1]: expected str"), (5, "expected str")],
    "status": [("gone", "'gone' is none of active, "), (["active", "Active"], "[1]: 'Active' is none of")],
    "email_domain": [("localhost", "is no e-mail domain"), ("@gmail.com", "is no e-mail domain"), ("", "is empty")],
    "score_min": [(1 << 31, "out of range"), (1.5, "expected int, got float"), (True, "expected int, got bool")],
    "created_from": [
        (datetime.datetime(2026, 1, 1), "2026-01-01T00:00:00 has no time zone"),
        (datetime.date(2026, 1, 1), "expected datetime, got date"),
        (datetime.datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=5))), "out of range in UTC"),
    ],
    "sent_in": [(0, "out of range"), ([1, -1], "[1]: -1 is out of range"), ("1", "expected int"), (1 << 63, "range")],
    "opened_within": [(0, "out of range"), (36_501, "out of range"), ([7], "expected int, got list")],
    "attributes": [([], "is an empty list"), ([("a", "=", 1)], "[0]: expected Attribute, got tuple")],
    "any_of": [([], "is an empty list"), ([Segment(), {}], "[1]: expected Segment, got dict")],
}


@pytest.mark.parametrize(
    ("name", "value", "text"), [(name, *case) for name, cases in REFUSED.items() for case in cases]
)
def test_refused(name, value, text):
    with pytest.raises(ConfigError) as caught:
        Segment(**{name: value})
    message = str(caught.value)
    assert re.match(rf"\$\.{name}(\[\d+\])?: ", message)
    assert text in message
    assert "\n" not in message


@pytest.mark.parametrize(
    "keywords",
    [
        {"score_min": 5, "score_max": 4},
        {"created_from": NOW, "created_before": NOW},
        {"updated_from": NOW, "updated_before": NOW - timedelta(days=1)},
        {"tags_all": ["a", "b"], "tags_none": ["b"]},
        {"tags_any": ["a"], "tags_none": ["a", "b"]},
        {"sent_in": [1, 2], "not_sent_in": [2, 1]},
        {"opened_within": 7, "not_opened_within": 30},
    ],
)
def test_contradictions(keywords):
    first = next(iter(keywords))
    with pytest.raises(ConfigError, match=rf"^\$\.{first}: .*so no lead could match"):
        Segment(**keywords)


def test_what_looks_like_a_contradiction_but_is_none():
    Segment(score_min=4, score_max=4)
    Segment(tags_any=["a", "b"], tags_none=["b"])
    Segment(sent_in=[1, 2], not_sent_in=2)
    Segment(opened_within=30, not_opened_within=7)
    assert str(~Segment()) == "not (all leads)"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("", "=", 1), "$.name: is empty"),
        (("a\0", "=", 1), "$.name: "),
        (("a", "==", 1), "$.op: '==' is none of =, !=, "),
        (("a", "exists", 1), '$.value: has no meaning with "exists"'),
        (("a", "="), "$.value: is missing"),
        (("a", "<", True), "$.value: True has no order"),
        (("a", "=", float("nan")), "$.value: nan is no number"),
        (("a", "=", 1 << 63), "$.value: 9223372036854775808 does not fit"),
        (("a", "=", "\0"), "$.value: "),
        (("a", "=", [1]), "$.value: expected str, number or bool, got list"),
    ],
)
def test_attributes_refused(arguments, text):
    with pytest.raises(ConfigError) as caught:
        Attribute(*arguments)
    assert str(caught.value).startswith(text)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ('{"any_of":[{},{"score_min":3,"score_max":2}]}', "$.any_of[1].score_min: is more than $.score_max"),
        ('{"all_of":[{"none_of":[{"tags_any":[]}]}]}', "$.all_of[0].none_of[0].tags_any: is an empty list"),
        ('{"any_of":[{"status":["gone"]}]}', "$.any_of[0].status[0]: 'gone' is none of"),
        ('{"attributes":[{"name":"a","op":"~","value":1}]}', "$.attributes[0].op: '~' is none of"),
        ('{"attributes":[{"name":"a","op":"=","value":[1]}]}', "$.attributes[0].value: Expected "),
        ('{"any_of":[{"tag":"a"}]}', "$.any_of[0]: Object contains unknown field `tag`"),
        ('{"tags_any":"a"}', "$.tags_any: Expected `array | null`, got `str`"),
        ('{"created_from":"2026-01-01T00:00:00"}', "$.created_from: 2026-01-01T00:00:00 has no time zone"),
        ('{"country":"a\\u0000"}', "$.country: "),
        ("[]", "$: Expected `object`, got `array`"),
        ("{", "$: "),
        (b'{"country":"\xff"}', "$: "),
        ('{"all_of":[' * 17 + "{}" + "]}" * 17, "$.all_of[0].all_of[0]: is nested too deeply"),
        ('{"all_of":[' * 100_000, "$: "),
    ],
)
def test_refused_when_decoded(data, text):
    with pytest.raises(ConfigError) as caught:
        Segment.from_json(data)
    assert str(caught.value).startswith(text)


def test_refused_as_msgpack_and_as_dict():
    document = {"any_of": [{}, {"score_min": 3, "score_max": 2}]}
    for decode, data in ((Segment.from_dict, document), (Segment.from_msgpack, msgspec.msgpack.encode(document))):
        with pytest.raises(ConfigError, match=r"^\$\.any_of\[1\]\.score_min: "):
            decode(data)
    with pytest.raises(ConfigError, match=r"^\$: "):
        Segment.from_msgpack(b"\xc1")
    endless = {}
    endless["all_of"] = [endless]
    with pytest.raises(ConfigError, match=r"^\$: is nested too deeply"):
        Segment.from_dict(endless)


def test_limits():
    deep = Segment(score_min=1)
    for _ in range(MAX_DEPTH - 1):
        deep = Segment(all_of=[deep])
    with pytest.raises(ConfigError, match=rf"^\$\.any_of\[1\]: is nested too deeply; at most {MAX_DEPTH}"):
        Segment(any_of=[Segment(), deep])
    wide = Segment(any_of=[Segment(score_min=number) for number in range(MAX_CONDITIONS)])
    with pytest.raises(ConfigError, match=rf"^\$: has {MAX_CONDITIONS + 1} conditions; at most {MAX_CONDITIONS}"):
        wide & Segment(score_max=1)
    with pytest.raises(ConfigError, match=r"^\$: has "):
        Segment(any_of=[Segment()] * (MAX_CONDITIONS + 1))


def test_one_form_for_equal_segments():
    assert Segment(country="BR") == Segment(country=["BR", "BR"])
    assert Segment(email_domain="Bücher.Example") == Segment(email_domain=["xn--bcher-kva.example"])
    here = NOW.astimezone(timezone(timedelta(hours=-3)))
    assert repr(Segment(created_from=here)) == repr(Segment(created_from=NOW))
    assert Attribute("a", "=", 10.0) == Attribute("a", "=", 10)
    assert repr(Attribute("a", "=", -0.0)) == "Attribute('a', '=', 0)"
    assert Attribute("a", "=", True) != Attribute("a", "=", 1)
    assert Attribute("a", "=", 1) != ("a", "=", 1)
    assert len({Segment(attributes=[Attribute("a", "=", value)]) for value in (True, 1, 1.0, "1")}) == 3


def test_values_of_other_types_become_plain():
    class Plan(str, enum.Enum):  # noqa: UP042 - its str() is not its value
        PRO = "pro"

    segment = Segment(tags_any=[Plan.PRO], attributes=[Attribute(Plan.PRO, "=", np.float64(0.5))])
    assert repr(segment) == "Segment(tags_any=['pro'], attributes=[Attribute('pro', '=', 0.5)])"


def test_it_does_not_change():
    segment = Segment(tags_any=["a"])
    with pytest.raises(AttributeError):
        segment.country = "BR"
    assert segment.tags_any == ("a",)
    assert hash(segment) == hash(Segment(tags_any=["a"]))
    with pytest.raises(TypeError):
        Segment(["a"])
    with pytest.raises(TypeError):
        Segment(tag="a")


@pytest.mark.parametrize(
    ("segment", "text"),
    [
        (Segment(), "all leads"),
        (Segment(tags_any=["vip"], country="BR", score_min=50), 'tagged "vip" and country is "BR" and score at least 50'),
        (Segment(tags_all=["a", "b"]), 'tagged all of "a", "b"'),
        (Segment(tags_none=["a"]), 'not tagged "a"'),
        (Segment(city=["Lima", "Rio"]), 'city is one of "Lima", "Rio"'),
        (Segment(created_from=NOW, updated_before=NOW), "created from 2026-03-01T00:00:00Z and updated before 2026-03-01T00:00:00Z"),  # noqa: E501
        (Segment(sent_in=5, not_opened_in=[5, 6]), "sent in campaign 5 and not opened in any of campaigns 5, 6"),
        (Segment(clicked_within=30, not_sent_within=1), "not sent in the last day and clicked in the last 30 days"),
        (Segment(attributes=[Attribute("a", "exists"), Attribute("b", "=", True)]), 'attribute "a" exists and attribute "b" = true'),  # noqa: E501
        (Segment(any_of=[Segment(score_min=1, score_max=2), Segment()]), "((score at least 1 and score at most 2) or all leads)"),  # noqa: E501
        (Segment(none_of=[Segment(city="Rio"), Segment(all_of=[Segment(country="BR")])]), 'not (city is "Rio") and not (country is "BR")'),  # noqa: E501
        (Segment(city='a"\\\n\u2028\u202e é'), r'city is "a\"\\\n\u2028\u202e é"'),
    ],
)  # fmt: skip
def test_describe(segment, text):
    assert describe(segment) == str(segment) == text


@given(segments())
def test_round_trips(segment):
    assert eval(repr(segment), dict(NAMES)) == segment  # noqa: S307
    text = segment.to_json()
    assert json.loads(text) == segment.to_dict()
    again = [
        Segment.from_json(text),
        Segment.from_json(text.encode()),
        Segment.from_msgpack(segment.to_msgpack()),
        Segment.from_dict(segment.to_dict()),
        msgspec.json.decode(msgspec.json.encode(segment), type=Segment),
        pickle.loads(pickle.dumps(segment)),  # noqa: S301
        copy.deepcopy(segment),
    ]
    assert again == [segment] * len(again)
    assert {(repr(other), str(other), other.to_json(), hash(other)) for other in again} == {
        (repr(segment), str(segment), text, hash(segment))
    }
    assert len(str(segment).splitlines()) == 1


@given(segments(), segments(), segments())
def test_algebra(a, b, c):
    assert a & Segment() == Segment() & a == a
    assert a | Segment() == Segment() | a == Segment()
    assert ~~a == a or list(a.given()) == ["none_of"]
    assert (a & b) & c == a & (b & c)
    assert (a | b) | c == a | (b | c)


def test_operators():
    a, b, c = Segment(city="A"), Segment(city="B"), Segment(city="C")
    assert a & b & c == Segment(all_of=[a, b, c])
    assert a | b | c == Segment(any_of=[a, b, c])
    assert a & (b | c) == Segment(all_of=[a, Segment(any_of=[b, c])])
    assert ~a == Segment(none_of=[a])
    assert ~~a == a
    assert ~(a | b) == Segment(none_of=[Segment(any_of=[a, b])])
    for wrong in (lambda: a & "b", lambda: a | None, lambda: 1 & a):
        with pytest.raises(TypeError):
            wrong()


@given(segments(), st.sampled_from(["l", "lead", "s_2"]))
@settings(max_examples=200)
def test_sql_has_nothing_of_the_caller(segment, alias):
    sql, params = compile_segment(segment, NOW, alias)
    used = set(re.findall(r"%\((\w+)\)s::\w+", sql))
    assert used - {"workspace"} == set(params)
    rest = re.sub(r"%\(\w+\)s::(int4|int8|text|timestamptz|numeric|jsonb)(\[\])?", "", sql)
    assert "%" not in rest
    known = r"'open'|'click'|'@'|'string'|'number'|'null'|'\^-\?\[0-9\]\+\(\[\.\]\[0-9\]\+\)\?\$'|\"C\""
    assert not re.search(r"['\"\\;]|--|/\*", re.sub(known, "", rest))
    assert sql == compile_segment(segment, NOW, alias)[0]


def test_sql_refuses():
    for alias in ("", "l; drop table x", "L", 'l"', "1", "l\n", "a" * 40):
        with pytest.raises(ConfigError, match=r"^alias: "):
            compile_segment(Segment(), NOW, alias)
    with pytest.raises(ConfigError, match=r"^now: .*no time zone"):
        compile_segment(Segment(), datetime.datetime(2026, 1, 1))


def test_sql():
    assert compile_segment(Segment(), NOW) == ("true", {})
    assert compile_segment(~Segment(), NOW) == ("false", {})
    assert compile_segment(Segment(score_min=5, country="BR"), NOW, "x") == (
        "(x.country = %(p1)s::text and x.score >= %(p2)s::int4)",
        {"p1": "BR", "p2": 5},
    )
    assert compile_segment(~Segment(score_min=5, city=["a", "b"]), NOW) == (
        "((l.city = any(%(p1)s::text[])) is not true or not (l.score >= %(p2)s::int4))",
        {"p1": ["a", "b"], "p2": 5},
    )
    text = Segment(attributes=[Attribute("a", "<", "b")])
    assert 'collate "C" <' in compile_segment(text, NOW)[0]  # whatever the order of the database
    sql, params = compile_segment(~Segment(sent_within=30), NOW)
    assert sql.startswith("not exists (select from mailgenius.email_sends l_sent where ")
    assert params == {"p1": NOW - timedelta(days=30)}


def test_public_names():
    assert mailgenius.Segment is Segment
    assert {"Segment", "Attribute"} <= set(mailgenius.__all__)
