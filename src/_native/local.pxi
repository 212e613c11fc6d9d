# LocalStore: the layer of a cache that lives in the process. mailgenius.cache keeps it coherent with Redis.
#
# Eviction is S3-FIFO (Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023): newcomers pass through a
# small queue, only what is asked for again reaches the main one, so that a scan drives out nothing but other newcomers. A
# hit writes one counter and moves nothing.
#
# No lock is held, and nothing is half done, while Python code may run. Values may have finalizers, and these may call the
# store: what leaves it is chained up and let go after the critical section (see histogram.pxi). Nothing inside one makes an
# object that the garbage collector tracks, which in CPython 3.11 could run it there and then.
#
# Queues and tags are circular lists through the slots themselves, without references: a slot belongs to the dict. One that
# dies in there all the same (the collector empties the dict of a store in a cycle) takes itself out.
from cpython.dict cimport PyDict_DelItem, PyDict_GetItemWithError, PyDict_SetItem
from cpython.object cimport PyObject, PyObject_Hash
from cpython.ref cimport Py_DECREF, Py_INCREF

cdef extern from "time.h" nogil:
    int CLOCK_MONOTONIC_COARSE

__all__ += ["LocalStore"]

cdef enum:
    MARKS = 4096         # of invalidations, by hash
    GHOSTS = 1024        # remembered at least
    LOOKS = 128          # slots that one eviction may look at: a bound on how long it takes
    BURIED = 16          # cleared entries that each put lets go
    PROMOTED = 1         # hits in the small queue that lead to the main one
    FREQUENT = 3         # hits are counted up to here
    ENTRY = 272          # bytes of an entry beside its key's text and its value, at the mean load of a dict
    TAG = 48             # bytes of a tag of an entry

cdef int64_t NEVER = 0x7fffffffffffffff
cdef uint64_t TAGGED = 0x9e3779b97f4a7c15  # keeps marks of tags apart from those of keys with the same text

ctypedef struct node:
    node *prev
    node *next
    PyObject *slot  # NULL: the head of a queue

ctypedef struct tag_link:
    tag_link *prev
    tag_link *next
    PyObject *slot
    PyObject *tag  # owned; NULL: the head of a tag, or not yet in one


cdef inline void unlink(node *n) noexcept:
    n.prev.next, n.next.prev = n.next, n.prev
    n.prev = n.next = NULL


cdef inline void push(node *head, node *n) noexcept:
    n.prev, n.next = head, head.next
    head.next.prev = n
    head.next = n


@cython.final
@cython.no_gc
cdef class _Tag:
    cdef str name
    cdef tag_link head

    def __cinit__(self):
        self.head.prev = self.head.next = &self.head


@cython.final
cdef class _Slot:
    cdef node queued
    cdef str key
    cdef object value
    cdef int64_t fresh, gone  # until when, in nanoseconds of the store's clock
    cdef Py_ssize_t size
    cdef uint64_t hash
    cdef tag_link *links
    cdef uint32_t tags
    cdef uint8_t hits
    cdef bint main

    def __cinit__(self):
        self.queued.slot = <PyObject *>self

    def __dealloc__(self):
        if self.queued.next != NULL:
            unlink(&self.queued)
        untagged(self, None)
        mg_free(self.links)


cdef void untagged(_Slot slot, dict tags) noexcept:
    # Out of the lists of its tags; tags that nothing has any more are taken out of ``tags``.
    cdef tag_link *link
    cdef _Tag tag
    cdef uint32_t i
    for i in range(slot.tags):
        link = &slot.links[i]
        if link.tag == NULL:
            continue
        tag = <_Tag>link.tag
        link.prev.next, link.next.prev = link.next, link.prev
        if tags is not None and tag.head.next == &tag.head and PyDict_GetItemWithError(tags, tag.name) == link.tag:
            PyDict_DelItem(tags, tag.name)
        link.tag = NULL
        Py_DECREF(tag)


cdef inline int64_t coarse() noexcept:
    # Some milliseconds late, at a fourth of the price of CLOCK_MONOTONIC.
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now)
    return <int64_t>now.tv_sec * 1000000000 + now.tv_nsec


cdef inline int64_t later(int64_t now, double seconds) noexcept:
    return now + <int64_t>(seconds * 1e9) if seconds < 4e9 else NEVER


cdef str as_text(object key):
    if type(key) is str:
        return <str>key
    if type(key) is bytes:  # as the server names it; what is not UTF-8 is equal to no other key
        return (<bytes>key).decode("utf-8", "surrogateescape")
    raise TypeError(f"a key of a local store is a str, or its UTF-8 bytes, not {type(key).__name__}")


cdef void let_go(PyObject *dead) noexcept:
    cdef PyObject *following
    while dead != NULL:
        following = <PyObject *>(<_Slot>dead).queued.next
        (<_Slot>dead).queued.next = NULL
        Py_DECREF(<object>dead)
        dead = following


@cython.no_gc_clear
cdef class LocalStore:
    """Values by key, within ``max_bytes``; what is asked for again stays. Threads may share it.

    A value is fresh for some seconds, then stale for some more, then gone. ``size`` of a value is for the caller to say, in
    bytes; that of the key and about 272 bytes for the entry are added. One that would take more than an eighth of the
    store is not kept. Keys are ``str``, or the same text as UTF-8 in ``bytes``, which is how servers name them.

    ``clock`` gives seconds, for tests. Left out, it is CLOCK_MONOTONIC_COARSE, which is up to 10 ms behind.

    Nothing that was read before an invalidation is stored after it: take ``begin()`` before asking for the value, and
    store it with ``put_if``. That refuses a little too much (an invalidation of another key with the same 12 bits of hash),
    never too little.
    """
    cdef dict entries, tags
    cdef list doomed        # dicts that were cleared, with what is left in them
    cdef object clock
    cdef node small, main   # newest first
    cdef Py_ssize_t max_bytes, small_bytes, main_bytes, doomed_bytes
    cdef Py_ssize_t main_count
    cdef uint64_t *ghosts
    cdef uint64_t ghost_mask
    cdef uint32_t ghost_clock
    cdef uint64_t sequence, cleared
    cdef uint64_t[MARKS] marks
    cdef uint64_t hits, stale, misses, expired, evicted, invalidated, refused, too_large

    def __cinit__(self, Py_ssize_t max_bytes, *, clock=None):
        if max_bytes < 4096:
            raise ValueError(f"max_bytes is at least 4096, not {max_bytes}")
        if clock is not None and not callable(clock):
            raise TypeError("clock is a function that gives seconds")
        self.entries, self.tags, self.doomed = {}, {}, []
        self.clock = clock
        self.max_bytes = max_bytes
        self.small.prev = self.small.next = &self.small
        self.main.prev = self.main.next = &self.main
        self.ghost_clock = <uint32_t>1 << 31
        self.remember_more(GHOSTS)
        if self.ghosts == NULL:
            raise MemoryError("mailgenius: no memory for a local store")

    def __dealloc__(self):
        for head in range(2):
            self.abandon(&self.main if head else &self.small)
        mg_free(self.ghosts)

    cdef void abandon(self, node *head) noexcept:
        # Slots may outlive the store by a moment.
        cdef node *n = head.next
        cdef node *following
        while n != NULL and n != head:
            following = n.next
            n.prev = n.next = NULL
            n = following

    cdef int64_t asked(self) except? -1:
        return <int64_t>(<double>self.clock() * 1e9)

    # -- reading

    def get(self, key, default=None):
        """The value while it is fresh, else ``default``."""
        cdef PyObject *found
        cdef _Slot slot
        cdef str text = <str>key if type(key) is str else as_text(key)
        cdef int64_t now = coarse() if self.clock is None else self.asked()
        with cython.critical_section(self):
            found = PyDict_GetItemWithError(self.entries, text)
            if found == NULL:
                self.misses += 1
                return default
            slot = <_Slot>found
            if now < slot.fresh:
                self.hits += 1
                slot.hits += slot.hits < FREQUENT
                return slot.value
            if now < slot.gone:
                self.misses += 1
                return default
        self.expire(text, now)
        return default

    def look(self, key):
        """``(value, fresh, left)``: also a stale one; ``fresh`` and ``left`` are the seconds until it is stale (negative
        when it is) and gone. None: there is none."""
        cdef PyObject *found
        cdef _Slot slot
        cdef str text = as_text(key)
        cdef int64_t now = coarse() if self.clock is None else self.asked()
        cdef int64_t fresh = 0, gone = 0
        cdef object value = None
        with cython.critical_section(self):
            found = PyDict_GetItemWithError(self.entries, text)
            if found == NULL:
                self.misses += 1
                return None
            slot = <_Slot>found
            fresh, gone = slot.fresh, slot.gone
            if now < gone:
                if now < fresh:
                    self.hits += 1
                else:
                    self.stale += 1
                slot.hits += slot.hits < FREQUENT
                value = slot.value
        if now >= gone:
            self.expire(text, now)
            return None
        return value, seconds_until(fresh, now), seconds_until(gone, now)

    cdef int expire(self, str text, int64_t now) except -1:
        cdef PyObject *found
        cdef PyObject *dead = NULL
        with cython.critical_section(self):
            self.misses += 1
            found = PyDict_GetItemWithError(self.entries, text)
            if found != NULL and now >= (<_Slot>found).gone:
                self.expired += 1
                self.detach(<_Slot>found, &dead)
        let_go(dead)
        return 0

    # -- writing

    def begin(self):
        """A ticket for ``put_if``, to be taken before the value is asked for."""
        with cython.critical_section(self):
            return self.sequence

    def put(self, key, value, Py_ssize_t size, double fresh, double keep=0.0, tags=()):
        """Stores the value: fresh for ``fresh`` seconds, there for ``keep`` (at least as long). Whatever was begun before
        and is stored after it with ``put_if`` is refused. False: it is too large, and so is not there."""
        return self.store(as_text(key), value, size, fresh, keep, tags, 0, False)

    def put_if(self, uint64_t ticket, key, value, Py_ssize_t size, double fresh, double keep=0.0, tags=()):
        """As ``put``, but only if since ``ticket`` neither the key nor one of the tags was invalidated, nor the key put, nor
        the store cleared. False: it was not stored."""
        return self.store(as_text(key), value, size, fresh, keep, tags, ticket, True)

    cdef bint store(
        self, str key, object value, Py_ssize_t size, double fresh, double keep, object tags, uint64_t ticket, bint asks
    ) except -1:
        cdef _Slot slot = _Slot.__new__(_Slot)
        cdef PyObject *old
        cdef PyObject *dead = NULL
        cdef tuple names = tuple(dict.fromkeys(tags)) if tags else ()
        cdef uint32_t i
        cdef int64_t now
        cdef bint stored = False
        if size < 0 or not fresh > 0 or keep != keep:
            raise ValueError(f"size is at least 0 and fresh more than 0 seconds, not {size!r} and {fresh!r}")
        for name in names:
            if type(name) is not str:
                raise TypeError(f"a tag is a str, not {type(name).__name__}")
        now = coarse() if self.clock is None else self.asked()
        slot.key, slot.value, slot.hash = key, value, <uint64_t>PyObject_Hash(key)
        slot.fresh, slot.gone = later(now, fresh), later(now, keep if keep > fresh else fresh)
        if size <= self.max_bytes:  # (no sum overflows)
            size += ENTRY + len(key) + TAG * len(names)
        slot.size = size
        if names:
            slot.links = <tag_link *>mg_alloc(<size_t>len(names) * sizeof(tag_link))
            if slot.links == NULL:
                raise MemoryError("mailgenius: no memory for the tags of a cached value")
            memset(slot.links, 0, <size_t>len(names) * sizeof(tag_link))
            slot.tags = <uint32_t>len(names)
        if self.doomed_bytes:
            self.bury(BURIED, size)
        try:
            with cython.critical_section(self):
                if asks and self.is_late(slot.hash, names, ticket):
                    self.refused += 1
                    return False
                if not asks:
                    self.mark(slot.hash)
                old = PyDict_GetItemWithError(self.entries, key)
                if old != NULL:
                    slot.hits = (<_Slot>old).hits
                    slot.main = (<_Slot>old).main
                    self.detach(<_Slot>old, &dead)
                if size > self.max_bytes // 8:
                    self.too_large += 1
                else:
                    if old == NULL:
                        slot.main = self.is_ghost(slot.hash)
                    while self.small_bytes + self.main_bytes + self.doomed_bytes + size > self.max_bytes:
                        if not self.evict(now, &dead):
                            break
                    PyDict_SetItem(self.entries, key, slot)
                    self.enqueue(slot)
                    for i in range(slot.tags):
                        self.tag(slot, &slot.links[i], <str>names[i])
                    stored = True
        finally:
            let_go(dead)
        return stored

    def touch(self, key, double fresh, double keep=0.0):
        """Makes what is there fresh anew, as ``put`` would. False: nothing is there."""
        cdef PyObject *found
        cdef str text = as_text(key)
        cdef int64_t now = coarse() if self.clock is None else self.asked()
        if not fresh > 0 or keep != keep:
            raise ValueError(f"fresh is more than 0 seconds, not {fresh!r}")
        with cython.critical_section(self):
            found = PyDict_GetItemWithError(self.entries, text)
            if found == NULL or now >= (<_Slot>found).gone:
                return False
            (<_Slot>found).fresh = later(now, fresh)
            (<_Slot>found).gone = later(now, keep if keep > fresh else fresh)
            return True

    # -- invalidation

    def pop(self, key):
        """Invalidates the key, in constant time; whether there was a value."""
        cdef PyObject *found
        cdef PyObject *dead = NULL
        cdef str text = as_text(key)
        cdef uint64_t hashed = <uint64_t>PyObject_Hash(text)
        with cython.critical_section(self):
            self.mark(hashed)
            found = PyDict_GetItemWithError(self.entries, text)
            if found != NULL:
                self.invalidated += 1
                self.detach(<_Slot>found, &dead)
        let_go(dead)
        return dead != NULL

    def pop_tag(self, tag):
        """Invalidates every key with this tag, in time proportional to them; how many values there were."""
        cdef PyObject *found
        cdef PyObject *dead = NULL
        cdef Py_ssize_t count = 0
        cdef _Tag held
        cdef _Slot slot
        cdef str text = as_text(tag)
        with cython.critical_section(self):
            self.mark(<uint64_t>PyObject_Hash(text) ^ TAGGED)
            found = PyDict_GetItemWithError(self.tags, text)
            if found != NULL:
                held = <_Tag>found
                while held.head.next != &held.head:
                    slot = <_Slot>held.head.next.slot
                    self.mark(slot.hash)
                    self.detach(slot, &dead)
                    count += 1
            self.invalidated += count
        let_go(dead)
        return count

    def clear(self):
        """Invalidates everything, in constant time: what is there is let go by later calls of ``put`` and ``sweep``, and
        counts as memory until then."""
        cdef dict entries = {}, tags = {}
        with cython.critical_section(self):
            self.sequence += 1
            self.cleared = self.sequence
            self.invalidated += len(self.entries)
            self.doomed_bytes += self.small_bytes + self.main_bytes
            self.small_bytes = self.main_bytes = self.main_count = 0
            # The slots stay linked to one another, without a head. (No queue is read that way any more.)
            self.behead(&self.small)
            self.behead(&self.main)
            self.entries, entries = entries, self.entries
            self.tags, tags = tags, self.tags
            self.doomed.append(tags)
            self.doomed.append(entries)

    cdef void behead(self, node *head) noexcept:
        if head.next != head:
            head.prev.next, head.next.prev = head.next, head.prev
            head.prev = head.next = head

    def sweep(self, Py_ssize_t count=1000):
        """Lets go up to ``count`` of the values that were cleared; whether there are more."""
        return self.bury(count, 0)

    cdef bint bury(self, Py_ssize_t count, Py_ssize_t room) except -1:
        cdef Py_ssize_t left = count
        cdef dict last
        while self.doomed:
            if left <= 0 and self.small_bytes + self.main_bytes + self.doomed_bytes + room <= self.max_bytes:
                return True
            try:
                last = <dict>self.doomed[len(self.doomed) - 1]
                if last:
                    _, item = last.popitem()
                else:
                    self.doomed.remove(last)
                    continue
            except (IndexError, KeyError, ValueError):  # another thread was here
                continue
            left -= 1
            if type(item) is _Slot:
                with cython.critical_section(self):
                    self.doomed_bytes -= (<_Slot>item).size
                    if (<_Slot>item).queued.next != NULL:
                        unlink(&(<_Slot>item).queued)
                    untagged(<_Slot>item, None)
            item = None
        return False

    # -- under the lock

    cdef inline void mark(self, uint64_t hashed) noexcept:
        self.sequence += 1
        self.marks[hashed % MARKS] = self.sequence

    cdef bint is_late(self, uint64_t hashed, tuple names, uint64_t ticket) except -1:
        if self.cleared > ticket or self.marks[hashed % MARKS] > ticket:
            return True
        for name in names:
            if self.marks[(<uint64_t>PyObject_Hash(name) ^ TAGGED) % MARKS] > ticket:
                return True
        return False

    cdef int tag(self, _Slot slot, tag_link *link, str name) except -1:
        cdef PyObject *found = PyDict_GetItemWithError(self.tags, name)
        cdef _Tag tag
        if found != NULL:
            tag = <_Tag>found
        else:
            tag = _Tag.__new__(_Tag)
            tag.name = name
            PyDict_SetItem(self.tags, name, tag)
        Py_INCREF(tag)
        link.tag = <PyObject *>tag
        link.slot = <PyObject *>slot
        link.prev, link.next = &tag.head, tag.head.next
        tag.head.next.prev = link
        tag.head.next = link
        return 0

    cdef inline void enqueue(self, _Slot slot) noexcept:
        if slot.main:
            push(&self.main, &slot.queued)
            self.main_bytes += slot.size
            self.main_count += 1
        else:
            push(&self.small, &slot.queued)
            self.small_bytes += slot.size

    cdef inline void dequeue(self, _Slot slot) noexcept:
        unlink(&slot.queued)
        if slot.main:
            self.main_bytes -= slot.size
            self.main_count -= 1
        else:
            self.small_bytes -= slot.size

    cdef int detach(self, _Slot slot, PyObject **dead) except -1:
        Py_INCREF(slot)
        PyDict_DelItem(self.entries, slot.key)
        self.dequeue(slot)
        untagged(slot, self.tags)
        slot.queued.next = <node *>dead[0]
        dead[0] = <PyObject *>slot
        return 0

    cdef bint evict(self, int64_t now, PyObject **dead) except -1:
        # False: nothing is left.
        cdef _Slot slot
        cdef int looks = 0
        cdef bint there
        while True:
            if self.small.next != &self.small and (
                self.small_bytes >= self.max_bytes // 10 or self.main.next == &self.main
            ):
                slot = <_Slot>self.small.prev.slot
                there = now < slot.gone
                if there and slot.hits >= PROMOTED and looks < LOOKS:
                    self.dequeue(slot)
                    slot.main, slot.hits = True, 0
                    self.enqueue(slot)
                    looks += 1
                    continue
                if there:
                    self.remember(slot.hash)
            elif self.main.next != &self.main:
                slot = <_Slot>self.main.prev.slot
                there = now < slot.gone
                if there and slot.hits and looks < LOOKS:
                    slot.hits -= 1
                    unlink(&slot.queued)
                    push(&self.main, &slot.queued)
                    looks += 1
                    continue
            else:
                return False
            if there:
                self.evicted += 1
            else:
                self.expired += 1
            self.detach(slot, dead)
            return True

    # -- ghosts: hashes of what the small queue let go. Forgotten after as many others as the main queue holds.

    cdef void remember(self, uint64_t hashed) noexcept:
        if <uint64_t>len(self.entries) > self.ghost_mask:
            self.remember_more(2 * (self.ghost_mask + 1))
        self.ghost_clock += 1
        self.ghosts[hashed & self.ghost_mask] = hashed >> 32 << 32 | self.ghost_clock

    cdef bint is_ghost(self, uint64_t hashed) noexcept:
        cdef uint64_t ghost = self.ghosts[hashed & self.ghost_mask]
        cdef uint32_t age = self.ghost_clock - <uint32_t>ghost
        return ghost >> 32 == hashed >> 32 and age <= <uint64_t>self.main_count

    cdef void remember_more(self, uint64_t count) noexcept:
        # Those of before are forgotten. Without memory, it remembers as many as it did.
        cdef uint64_t *ghosts = <uint64_t *>mg_alloc(count * sizeof(uint64_t))
        if ghosts != NULL:
            memset(ghosts, 0, count * sizeof(uint64_t))
            mg_free(self.ghosts)
            self.ghosts = ghosts
            self.ghost_mask = count - 1

    # -- what is there

    def __len__(self):
        with cython.critical_section(self):
            return len(self.entries)

    def stats(self):
        """Numbers of now: entries, bytes (those of cleared values included), tags. Since it was made: hits, stale (``look`` of
        one), misses, expired, evicted, invalidated, refused (``put_if`` too late), too_large."""
        cdef uint64_t[11] n
        with cython.critical_section(self):
            n[:] = [
                <uint64_t>len(self.entries), <uint64_t>(self.small_bytes + self.main_bytes + self.doomed_bytes),
                <uint64_t>len(self.tags), self.hits, self.stale, self.misses, self.expired, self.evicted,
                self.invalidated, self.refused, self.too_large,
            ]
        return {name: n[i] for i, name in enumerate(LOCAL_STATS)}

    @property
    def max_bytes(self):
        return self.max_bytes


cdef tuple LOCAL_STATS = (
    "entries", "bytes", "tags", "hits", "stale", "misses", "expired", "evicted", "invalidated", "refused", "too_large",
)


cdef inline object seconds_until(int64_t then, int64_t now):
    return float("inf") if then == NEVER else <double>(then - now) / 1e9
