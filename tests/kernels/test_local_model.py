"""local.pxi against a dict that keeps everything."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from mailgenius._native import LocalStore

ENTRY = 272  # bytes of an entry without its key and value
KEYS = st.sampled_from([f"lead:{i}" for i in range(12)])
TAGS = st.sets(st.sampled_from(["a", "b", "c", "lead:1"]))
SECONDS = st.sampled_from([0.5, 1.0, 2.0, 5.0, float("inf")])


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class AgainstADict(RuleBasedStateMachine):
    """A store with room for everything is a dict with times, tags and tickets; with little room, it may lack some of it."""

    ROOM = 1 << 20

    @initialize()
    def begin(self) -> None:
        self.clock = Clock()
        self.store = LocalStore(self.ROOM, clock=self.clock)
        self.model: dict[str, tuple[int, float, float, frozenset[str]]] = {}
        self.count = 0
        self.history: list[tuple[str, str]] = []  # (what, name) of all that makes tickets invalid
        self.tickets: list[tuple[int, int]] = []  # (ticket, how long the history was)

    def keep(self, key: str, fresh: float, keep: float, tags: set[str]) -> None:
        now = self.clock.now
        self.model[key] = (self.count, now + fresh, now + max(fresh, keep), frozenset(tags))

    @rule(key=KEYS, size=st.integers(0, 3000), fresh=SECONDS, keep=st.just(0.0) | SECONDS, tags=TAGS)
    def put(self, key: str, size: int, fresh: float, keep: float, tags: set[str]) -> None:
        self.count += 1
        self.history.append(("key", key))
        if self.store.put(key, self.count, size, fresh, keep, tags):
            self.keep(key, fresh, keep, tags)
        else:
            assert size + ENTRY + len(key) + 48 * len(tags) > self.ROOM // 8
            self.model.pop(key, None)

    @rule()
    def ticket(self) -> None:
        self.tickets.append((self.store.begin(), len(self.history)))

    @rule(key=KEYS, fresh=SECONDS, tags=TAGS, data=st.data())
    def put_if(self, key: str, fresh: float, tags: set[str], data: st.DataObject) -> None:
        if not self.tickets:
            return
        ticket, length = data.draw(st.sampled_from(self.tickets))
        late = any(
            what == "all" or (what == "key" and name == key) or (what == "tag" and name in tags)
            for what, name in self.history[length:]
        )
        self.count += 1
        stored = self.store.put_if(ticket, key, self.count, 1, fresh, 0.0, tags)
        assert not (stored and late)
        if stored:
            self.keep(key, fresh, 0.0, tags)
        else:  # twelve keys and four tags: none share their 12 bits often enough to matter to the model
            assert late or self.collides(key, tags, length)

    def collides(self, key: str, tags: set[str], length: int) -> bool:
        def mark(what: str, name: str) -> int:
            return ((hash(name) & (2**64 - 1)) ^ (0x9E3779B97F4A7C15 if what == "tag" else 0)) % 4096

        mine = {mark("key", key), *(mark("tag", tag) for tag in tags)}
        return any(mark(what, name) in mine for what, name in self.history[length:])

    @rule(key=KEYS, as_bytes=st.booleans())
    def pop(self, key: str, as_bytes: bool) -> None:
        self.history.append(("key", key))
        there = self.store.pop(key.encode() if as_bytes else key)
        assert not there or key in self.model
        self.model.pop(key, None)

    @rule(tag=st.sampled_from(["a", "b", "c", "lead:1"]))
    def pop_tag(self, tag: str) -> None:
        self.history.append(("tag", tag))
        tagged = [key for key, (*_, tags) in self.model.items() if tag in tags]
        self.history += [("key", key) for key in tagged]
        assert self.store.pop_tag(tag) <= len(tagged)
        for key in tagged:
            del self.model[key]

    @rule()
    def clear(self) -> None:
        self.history.append(("all", ""))
        self.store.clear()
        self.model.clear()
        assert len(self.store) == 0

    @rule(count=st.integers(0, 5))
    def sweep(self, count: int) -> None:
        self.store.sweep(count)

    @rule(seconds=st.sampled_from([0.25, 0.5, 1.0, 3.0]))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule(key=KEYS, fresh=SECONDS)
    def touch(self, key: str, fresh: float) -> None:
        if self.store.touch(key, fresh):
            count, _, gone, tags = self.model[key]
            assert self.clock.now < gone
            self.model[key] = (count, self.clock.now + fresh, self.clock.now + fresh, tags)

    @rule(key=KEYS)
    def get(self, key: str) -> None:
        found = self.store.get(key, "none")
        count, fresh, _, _ = self.model.get(key, ("none", 0.0, 0.0, ()))
        assert found in ((count if self.clock.now < fresh else "none"), *self.absent())

    @rule(key=KEYS)
    def look(self, key: str) -> None:
        now = self.clock.now
        count, fresh, gone, _ = self.model.get(key, (0, 0.0, 0.0, ()))
        found = self.store.look(key)
        if found is None:
            assert now >= gone or self.absent()
        else:
            assert found == (count, fresh - now, gone - now)

    def absent(self) -> list[str]:
        return []

    @invariant()
    def bounded(self) -> None:
        if hasattr(self, "store"):
            assert self.store.stats()["bytes"] <= self.ROOM
            assert len(self.store) <= len(self.model)


class WithLittleRoom(AgainstADict):
    ROOM = 8192

    def absent(self) -> list[str]:
        return ["none"]


TestAgainstADict = AgainstADict.TestCase
TestAgainstADict.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
TestWithLittleRoom = WithLittleRoom.TestCase
TestWithLittleRoom.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
