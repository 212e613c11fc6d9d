# LocalStore: the layer of a cache that lives in the process. mailgenius.cache keeps it coherent with Redis.
#
# Eviction is S3-FIFO (Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023): newcomers pass through a
# small queue, only what is asked for again reaches the main one, so that a scan drives out nothing but other newcomers. A
# hit writes one counter and moves nothing.
#
# No lock is held, and nothing is half done, while Python code may run. Values may have finalizers, and these may call the
# store: what leaves it is chained up and let go after the critical section (see histogram.pxi). Nothing inside one makes an
# object that the garbage collector tracks, which in CPython 3.11 could run it there and then.
include "local_slots.pxi"

cdef object NOTHING = object()

__all__ += ["LocalStore"]


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
    cdef _Ghosts ghosts
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
        self.ghosts = _Ghosts.__new__(_Ghosts)

    def __dealloc__(self):
        # Slots outlive the store by a moment, and its two heads are in the store.
        if self.small.next != NULL:
            behead(&self.small)
            behead(&self.main)

    cdef int64_t asked(self) except? -1:
        return <int64_t>(<double>self.clock() * 1e9)

    # -- reading

    def get(self, key, default=None):
        """The value while it is fresh, else ``default``."""
        cdef str text = <str>key if type(key) is str else as_text(key)
        return self.find(text, default, coarse() if self.clock is None else self.asked())

    def named(self, name, key, default=None):
        """``get(name(key), default)`` in one call."""
        cdef object text = (<Namer>name).named(key) if type(name) is Namer else name(key)
        return self.find(<str?>text, default, coarse() if self.clock is None else self.asked())

    def take(self, list keys not None, list names not None, dict found not None):
        """``get`` for many: puts the values that are fresh into ``found``, by key. ``names`` are the keys in this store.
        Gives the keys and the names of the others."""
        cdef list other_keys = [], other_names = []
        cdef int64_t now = coarse() if self.clock is None else self.asked()
        cdef Py_ssize_t i
        cdef object value
        if len(keys) != len(names):
            raise ValueError(f"{len(keys)} keys, {len(names)} names")
        for i in range(len(keys)):
            value = self.find(as_text(names[i]), NOTHING, now)
            if value is NOTHING:
                other_keys.append(keys[i])
                other_names.append(names[i])
            else:
                found[keys[i]] = value
        return other_keys, other_names

    cdef object find(self, str text, object default, int64_t now):
        cdef PyObject *found
        cdef _Slot slot
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
                        slot.main = self.ghosts.has(slot.hash, <uint64_t>self.main_count)
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
            behead(&self.small)
            behead(&self.main)
            self.entries, entries = entries, self.entries
            self.tags, tags = tags, self.tags
            self.doomed.append(tags)
            self.doomed.append(entries)

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
                    self.ghosts.add(slot.hash, <uint64_t>len(self.entries))
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
