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

__all__ += ["seal", "unseal"]

cdef uint32_t ALWAYS = 0xffffffff


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
