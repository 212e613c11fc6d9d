# What LocalStore (local.pxi) is made of: entries, the tags that they have, ghosts, times.
#
# Queues and tags are circular lists through the slots themselves, without references: a slot belongs to the dict. One that
# dies in there all the same (the collector empties the dict of a store in a cycle) takes itself out.
from cpython.dict cimport PyDict_DelItem, PyDict_GetItemWithError, PyDict_SetItem
from cpython.object cimport PyObject, PyObject_Hash
from cpython.ref cimport Py_DECREF, Py_INCREF

cdef extern from "time.h" nogil:
    int CLOCK_MONOTONIC_COARSE

cdef enum:
    MARKS = 4096         # of invalidations, by hash
    GHOSTS = 1024        # remembered at least
    LOOKS = 128          # slots that one eviction may look at: a bound on how long it takes
    BURIED = 4           # cleared entries that each put lets go
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


cdef inline void behead(node *head) noexcept:
    # The others stay linked to one another.
    if head.next != head:
        head.prev.next, head.next.prev = head.next, head.prev
        head.prev = head.next = head


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


@cython.final
@cython.no_gc
cdef class _Ghosts:
    # Hashes of what the small queue let go. Forgotten after as many others as the main queue holds.
    cdef uint64_t *places  # 32 bits of the hash, and when it came
    cdef uint64_t mask
    cdef uint32_t clock

    def __cinit__(self):
        self.clock = <uint32_t>1 << 31
        self.widen(GHOSTS)
        if self.places == NULL:
            raise MemoryError("mailgenius: no memory for a local store")

    def __dealloc__(self):
        mg_free(self.places)

    cdef void widen(self, uint64_t count) noexcept:
        # Those of before are forgotten. Without memory, it remembers as many as it did.
        cdef uint64_t *places = <uint64_t *>mg_alloc(count * sizeof(uint64_t))
        if places != NULL:
            memset(places, 0, count * sizeof(uint64_t))
            mg_free(self.places)
            self.places = places
            self.mask = count - 1

    cdef void add(self, uint64_t hashed, uint64_t entries) noexcept:
        if entries > self.mask:
            self.widen(2 * (self.mask + 1))
        self.clock += 1
        self.places[hashed & self.mask] = hashed >> 32 << 32 | self.clock

    cdef bint has(self, uint64_t hashed, uint64_t last) noexcept:
        # Whether it is among the ``last`` ones.
        cdef uint64_t ghost = self.places[hashed & self.mask]
        return ghost >> 32 == hashed >> 32 and <uint32_t>(self.clock - <uint32_t>ghost) <= last


cdef tuple LOCAL_STATS = (
    "entries", "bytes", "tags", "hits", "stale", "misses", "expired", "evicted", "invalidated", "refused", "too_large",
)


cdef inline object seconds_until(int64_t then, int64_t now):
    return float("inf") if then == NEVER else <double>(then - now) / 1e9
