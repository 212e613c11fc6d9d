"""Names of cached values: no two keys share one, whatever the keys, tenants and versions."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailgenius._native import Namer
from mailgenius.cache.behind import names
from mailgenius.cache.keys import MAX_KEY, Key, _plain, namer

TEXT = st.text(st.sampled_from("ab1:,%#({}@v\u00e9") | st.characters(exclude_categories=["Cs"]), max_size=6)
LONG = TEXT.map(lambda text: text * 60)
PART = TEXT | LONG | st.integers(-20, 20) | st.integers() | st.sampled_from([2**63 - 1, 2**63, -(2**63), -(2**63) - 1])
KEY = PART | st.lists(PART, min_size=1, max_size=3).map(tuple)
TENANT = st.none() | TEXT.filter(bool) | LONG.filter(bool) | st.integers(0, 20)
SPACE = st.tuples(st.sampled_from([0, 1, 2, 11]), TENANT)


def plain(key: object) -> object:
    """Numbers and their digits are the same key."""
    if isinstance(key, tuple):
        return tuple(map(plain, key))
    return None if key is None else str(key)


def slot_text(name: str) -> str:
    """What decides the node in a Cluster."""
    start = name.find("{")
    end = name.find("}", start + 1)
    return name[start + 1 : end] if start >= 0 and end > start + 1 else name


@settings(max_examples=1500)
@given(SPACE, KEY, SPACE, KEY, st.sampled_from(["key", "first", "tenant", "region"]))
def test_names_are_equal_only_if_all_is(one: tuple, key: Key, other: tuple, key2: Key, together: str) -> None:
    names = [namer("r:", version, tenant, together, "lead")(k) for (version, tenant), k in ((one, key), (other, key2))]
    same = (one[0], plain(one[1]), plain(key)) == (other[0], plain(other[1]), plain(key2))
    assert (names[0] == names[1]) == same


@settings(max_examples=500)
@given(KEY, KEY)
def test_similar_keys(key: Key, other: Key) -> None:
    """Those that the forms are made of."""
    name = namer("r:")
    rest = name(key).removeprefix("r:")
    for made in (rest, f"%{rest}", f"({rest}", f"%{{}}{rest}", f"%@a:{rest}", (rest,), ("", rest), f"#{rest}"):
        assert name(made) != name(key) or plain(made) == plain(key)


@settings(max_examples=500)
@given(SPACE, KEY, st.sampled_from(["key", "first", "tenant", "region"]))
def test_names_are_short_and_valid(space: tuple, key: Key, together: str) -> None:
    name = namer("r:", *space, together, "lead")(key)
    assert name.startswith("r:")
    assert len(name.encode()) <= 2 + MAX_KEY + 80
    assert name.encode().decode() == name


@settings(max_examples=500)
@given(KEY | st.integers(-(2**70), 2**70) | st.text(st.characters(max_codepoint=127), max_size=60))
def test_the_compiled_core_makes_the_same_names(key: Key) -> None:
    for start in ("é:", "lead:"):
        assert Namer(start, _plain)(key) == start + _plain(key)


@given(KEY)
def test_keys_do_not_choose_their_node(key: Key) -> None:
    assert slot_text(namer("r:")(key)) == namer("r:")(key)
    assert slot_text(namer("r:", 3, "acme")(key)) == namer("r:", 3, "acme")(key)


@given(KEY, KEY, TENANT.filter(lambda tenant: tenant is not None))
def test_what_belongs_together_lives_together(key: Key, other: Key, tenant: str | int) -> None:
    name = namer("r:", 0, tenant, "tenant")
    assert slot_text(name(key)) == slot_text(name(other)) != name(key)
    name = namer("r:", 0, tenant, "first")
    first = key[0] if isinstance(key, tuple) else key
    assert slot_text(namer("r:", 0, tenant, "region", "lead")(key)) == "lead"
    assert slot_text(names("lead").log) == "lead"
    if first != "":
        assert slot_text(name((first, other if not isinstance(other, tuple) else "x"))) == slot_text(name((first,)))
        assert slot_text(name(key)) == slot_text(name((first, "y")))


@pytest.mark.parametrize(
    ("key", "name"),
    [
        (42, "lead:42"),
        ("42", "lead:42"),
        ("a:b", "lead:a:b"),
        ("", "lead:"),
        (("BR", "vip"), "lead:(BR,vip"),
        (("a,b", 1), "lead:(a%2Cb,1"),
        ("{a}", "lead:%{}{a}"),
        ("%a", "lead:%{}%a"),
        ("é", "lead:é"),
        ("x" * 201, "lead:#6ffa8c8b0ea8c5dc6ef3bd0ae96e91dbe2e1a63d"),
    ],
)
def test_names(key: Key, name: str) -> None:
    if name.startswith("lead:#"):
        assert len(namer("lead:")(key)) == len(name)
    else:
        assert namer("lead:")(key) == name
    assert namer("lead:", 2, "acme")(key).startswith("lead:%v2@acme:")


@pytest.mark.parametrize("key", [None, 1.5, True, b"a", (), (1, None), (1, (2,)), ["a"], object()])
@pytest.mark.parametrize("together", ["key", "first"])
def test_what_is_no_key(key: object, together: str) -> None:
    with pytest.raises(TypeError, match="key of a cache"):
        namer("r:", together=together)(key)  # type: ignore[arg-type]


@pytest.mark.parametrize("key", ["\ud800", ("a", "\udfff"), "x" * 100 + "\ud800"])
def test_half_a_character(key: Key) -> None:
    for together in ("key", "first"):
        with pytest.raises(ValueError, match="surrogate"):
            namer("r:", together=together)(key)


def test_tenants() -> None:
    with pytest.raises(ValueError, match="not empty"):
        namer("r:", tenant="")
    with pytest.raises(TypeError, match="not float"):
        namer("r:", tenant=1.0)  # type: ignore[arg-type]
