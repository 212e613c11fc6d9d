# The envelope of a cached value (kernels/envelope.c). mailgenius.cache.codec says what its fields mean.
from cpython.unicode cimport PyUnicode_AsUTF8AndSize

cdef extern from "mg.h" nogil:
    size_t MG_ENVELOPE_HEAD
    ctypedef struct mg_envelope:
        uint8_t flags, serializer
        uint32_t type, fresh_ms, load_us
        int64_t made_us
        uint64_t version
    int MG_ENVELOPE_OK
    void mg_envelope_write(const mg_envelope *e, const uint8_t *key, size_t key_n, const uint8_t *payload, size_t n,
                           uint8_t *head) noexcept
    int mg_envelope_read(const uint8_t *data, size_t n, const uint8_t *key, size_t key_n, mg_envelope *e) noexcept

__all__ += ["Unsealer", "seal", "unseal"]

cdef uint32_t ALWAYS = 0xffffffff
cdef double INFINITE = float("inf")
cdef object UNUSUAL = object()


def seal(str key not None, bytes payload not None, uint8_t flags, uint8_t serializer, uint32_t type, double made,
         double fresh, double load=0.0, uint64_t version=0):
    """The payload in an envelope. ``made``: seconds since 1970; ``fresh``: seconds that it is fresh, 49 days or more: for
    ever; ``load``: seconds that its load took."""
    cdef mg_envelope e
    cdef Py_ssize_t key_n
    cdef const char *text = PyUnicode_AsUTF8AndSize(key, &key_n)
    cdef size_t n = <size_t>PyBytes_GET_SIZE(payload)
    cdef bytes sealed
    cdef uint8_t *out
    if not -9e12 < made < 9e12 or not fresh >= 0 or not load >= 0:
        raise ValueError(f"made, fresh and load are seconds, not {made!r}, {fresh!r} and {load!r}")
    e.flags, e.serializer, e.type, e.version = flags, serializer, type, version
    e.made_us = <int64_t>(made * 1e6 + (0.5 if made >= 0 else -0.5))
    e.fresh_ms = <uint32_t>(fresh * 1e3) if fresh * 1e3 < ALWAYS else ALWAYS
    e.load_us = <uint32_t>(load * 1e6) if load * 1e6 < ALWAYS else ALWAYS
    sealed = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>(MG_ENVELOPE_HEAD + n))
    out = <uint8_t *>PyBytes_AS_STRING(sealed)
    memcpy(out + MG_ENVELOPE_HEAD, PyBytes_AS_STRING(payload), n)
    mg_envelope_write(&e, <const uint8_t *>text, <size_t>key_n, out + MG_ENVELOPE_HEAD, n, out)
    return sealed


def unseal(str key not None, bytes data not None):
    """``(payload, flags, serializer, type, made, fresh, load, version)`` as given to ``seal``; ``fresh`` may be infinite. A
    number says why not: 1, it is no envelope; 2, of another format; 3, damaged, or another key's."""
    cdef mg_envelope e
    cdef Py_ssize_t key_n
    cdef const char *text = PyUnicode_AsUTF8AndSize(key, &key_n)
    cdef const uint8_t *p = <const uint8_t *>PyBytes_AS_STRING(data)
    cdef size_t n = <size_t>PyBytes_GET_SIZE(data)
    cdef int verdict = mg_envelope_read(p, n, <const uint8_t *>text, <size_t>key_n, &e)
    if verdict != MG_ENVELOPE_OK:
        return verdict
    return (
        PyBytes_FromStringAndSize(<const char *>p + MG_ENVELOPE_HEAD, <Py_ssize_t>(n - MG_ENVELOPE_HEAD)),
        e.flags, e.serializer, e.type, e.made_us / 1e6,
        float("inf") if e.fresh_ms == ALWAYS else e.fresh_ms / 1e3, e.load_us / 1e6, e.version,
    )


@cython.final
cdef class Unsealer:
    """Takes values out of their envelopes, many in one call, if they are as most are: no flags, of this serializer and type.
    All others are left to the caller.

    ``decode`` makes a value of a payload; None: the payload is the value.
    """
    cdef uint8_t serializer
    cdef uint32_t type
    cdef object decode

    def __cinit__(self, uint8_t serializer, uint32_t type, decode):
        if decode is not None and not callable(decode):
            raise TypeError("decode is a function of a payload")
        self.serializer, self.type, self.decode = serializer, type, decode

    def one(
        self, str name not None, data, double now, default, LocalStore store=None, uint64_t ticket=0,
        double most=float("inf"), double kept=0.0,
    ):
        """The value stored under ``name``. ``default``: there is none in ``data``, it is not fresh at ``now`` (seconds since
        1970), or is not as most are.

        ``store`` gets it with ``put_if``: fresh for as long as it is, ``most`` seconds at most, and there for ``kept`` more.
        """
        value = self.fresh(name, data, now, store, ticket, most, kept)
        return default if value is NOTHING or value is UNUSUAL else value

    @cython.boundscheck(True)  # decode may be anybody's code
    def many(
        self, list keys not None, list names not None, list replies not None, Py_ssize_t at, double now,
        dict found not None, LocalStore store=None, uint64_t ticket=0, double most=float("inf"), double kept=0.0,
    ):
        """``one`` for replies to ``names``, from the position ``at`` on; values go into ``found``, by key. Stops at what is
        neither None nor a value as most are, and gives its position; at the end, how many there are."""
        cdef Py_ssize_t count = len(replies)
        cdef object value
        if len(keys) != count or len(names) != count or at < 0:
            raise ValueError(f"{count} replies from {at} on, {len(keys)} keys, {len(names)} names")
        while at < count:
            if replies[at] is not None:
                value = self.fresh(<str?>names[at], replies[at], now, store, ticket, most, kept)
                if value is UNUSUAL:
                    return at
                if value is not NOTHING:
                    found[keys[at]] = value
            at += 1
        return at

    cdef object fresh(
        self, str name, object data, double now, LocalStore store, uint64_t ticket, double most, double kept
    ):
        # NOTHING: no longer fresh. UNUSUAL: not as most are.
        cdef mg_envelope e
        cdef Py_ssize_t name_n
        cdef const char *text
        cdef const uint8_t *p
        cdef size_t n
        cdef double made, left
        cdef object value
        if type(data) is not bytes:
            return UNUSUAL
        text = PyUnicode_AsUTF8AndSize(name, &name_n)
        p, n = <const uint8_t *>PyBytes_AS_STRING(data), <size_t>PyBytes_GET_SIZE(data)
        if (
            mg_envelope_read(p, n, <const uint8_t *>text, <size_t>name_n, &e) != MG_ENVELOPE_OK
            or e.flags or e.serializer != self.serializer or e.type != self.type
        ):
            return UNUSUAL
        made, left = e.made_us / 1e6, INFINITE if e.fresh_ms == ALWAYS else e.fresh_ms / 1e3
        if made < now:
            left = made + left - now
        if left <= 0:
            return NOTHING
        value = PyBytes_FromStringAndSize(<const char *>p + MG_ENVELOPE_HEAD, <Py_ssize_t>(n - MG_ENVELOPE_HEAD))
        if self.decode is not None:
            try:
                value = self.decode(value)
            except Exception:  # the caller will see the same, and say so
                return UNUSUAL
        if store is not None:
            store.store(name, value, <Py_ssize_t>n, left if left < most else most, left + kept, (), ticket, True)
        return value
