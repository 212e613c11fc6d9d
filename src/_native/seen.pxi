# EmailSet: an exact set of addresses that remembers which came first (kernels/seen.c).
cimport cython
from cpython.buffer cimport PyBUF_FORMAT
from os import urandom as _urandom

cdef extern from "mg.h" nogil:
    ctypedef struct mg_seen:
        pass
    mg_seen *mg_seen_new(size_t expected, uint64_t seed) noexcept
    void mg_seen_free(mg_seen *s) noexcept
    mg_status mg_seen_add(mg_seen *s, const uint8_t *key, size_t n, uint32_t value, uint32_t *first,
                          int *added) noexcept
    mg_status mg_seen_add_many(mg_seen *s, const uint8_t *p, const int64_t *off, size_t n, uint32_t base,
                               uint32_t *first) noexcept
    int mg_seen_has(const mg_seen *s, const uint8_t *key, size_t n, uint32_t *value) noexcept
    size_t mg_seen_count(const mg_seen *s) noexcept
    size_t mg_seen_bytes(const mg_seen *s) noexcept

cdef extern from *:
    """
    /* The UTF-8 bytes of a str, or the bytes of a bytes. -1: an exception is set. */
    static int mg_key_view(PyObject *o, const uint8_t **p, size_t *n) {
        Py_ssize_t len;
        if (PyUnicode_Check(o)) {
            *p = (const uint8_t *)PyUnicode_AsUTF8AndSize(o, &len);
            if (!*p) return -1;
        } else if (PyBytes_Check(o)) {
            *p = (const uint8_t *)PyBytes_AS_STRING(o);
            len = PyBytes_GET_SIZE(o);
        } else {
            PyErr_Format(PyExc_TypeError, "an address must be str or bytes, not %.200s", Py_TYPE(o)->tp_name);
            return -1;
        }
        if (len > 65535) {
            PyErr_SetString(PyExc_ValueError, "an address is longer than 65,535 bytes");
            return -1;
        }
        *n = (size_t)len;
        return 0;
    }
    """
    int mg_key_view(object o, const uint8_t **p, size_t *n) except -1

__all__ += ["EmailSet"]


cdef class EmailSet:
    """An exact set of e-mail addresses that remembers which came first; about 26 bytes for an address of 22.

    Addresses (``str``, taken as UTF-8, or ``bytes``) are compared byte by byte: bring them into one form first, such as
    ``validate_emails(...).normalized``, since ``Ann@Example.com`` and ``ann@example.com`` are different here. Every
    address that is added gets the next number, counted from 0, whether it is new or not.

    ``expected``: how many different addresses to make room for at once; the set grows as needed either way. An address
    has at most 65,535 bytes (``ValueError``); the set takes 4 GiB of distinct addresses (about 200 million) and counts
    2**32 additions (``OverflowError`` beyond). Threads may share a set: one works at a time.
    """
    cdef mg_seen *s
    cdef uint64_t total
    cdef cython.pymutex lock

    def __cinit__(self, size_t expected=0):
        self.s = mg_seen_new(min(expected, <size_t>1 << 28), int.from_bytes(_urandom(8), "little"))
        if self.s == NULL:
            raise MemoryError(f"mailgenius: no memory for a set of {expected} addresses")

    def __dealloc__(self):
        mg_seen_free(self.s)

    def __len__(self):
        return mg_seen_count(self.s)

    @property
    def nbytes(self):
        """Bytes of memory the set holds, room for growth included."""
        with self.lock:
            return mg_seen_bytes(self.s)

    cdef int ended(self, mg_status st) except -1:
        if st == MG_FULL:
            raise OverflowError("mailgenius: the set holds 4 GiB of addresses and takes no more")
        if st == MG_CORRUPT:
            raise ValueError("the offsets do not rise, or an address is longer than 65,535 bytes")
        return check(st)

    cdef uint32_t numbers(self, uint64_t n) except? 0xffffffff:
        # The number of the first of n more addresses. They count as added even if that fails: numbers stay unique.
        cdef uint64_t base = self.total
        if base + n > 0xffffffff:
            raise OverflowError("mailgenius: the set counts 2**32 additions and takes no more")
        self.total += n
        return <uint32_t>base

    def add(self, address):
        """Adds one address. True if it was not there."""
        cdef const uint8_t *p = NULL
        cdef size_t n = 0
        cdef uint32_t first = 0
        cdef int added = 0
        mg_key_view(address, &p, &n)
        with self.lock:
            self.ended(mg_seen_add(self.s, p, n, self.numbers(1), &first, &added))
        return added != 0

    def __contains__(self, address):
        cdef const uint8_t *p = NULL
        cdef size_t n = 0
        mg_key_view(address, &p, &n)
        with self.lock:
            return mg_seen_has(self.s, p, n, NULL) != 0

    def add_many(self, addresses):
        """Adds many at once: a sequence of str or bytes, or a pair (offsets, data) of buffers.

        Address i of a pair is ``data[offsets[i]:offsets[i + 1]]``; offsets are int64. Returns a numpy array of uint32:
        for each address the number of its first occurrence since the set was made, which is its own number if it is new.
        Nothing is added if one of them can't be (wrong type, too long).
        """
        if isinstance(addresses, tuple) and len(addresses) == 2 and not isinstance(addresses[0], (str, bytes)):
            return self.add_buffers(addresses[0], addresses[1])
        if isinstance(addresses, (str, bytes, bytearray, memoryview)):
            raise TypeError("add_many takes a sequence of addresses; add takes one")
        return self.add_sequence(list(addresses))

    cdef add_buffers(self, offsets, data):
        cdef Py_buffer o, d
        PyObject_GetBuffer(offsets, &o, PyBUF_CONTIG_RO | PyBUF_FORMAT)
        try:
            PyObject_GetBuffer(data, &d, PyBUF_SIMPLE)
            try:
                if o.itemsize != 8 or o.format == NULL or o.format[0] not in b"lqn":
                    raise TypeError("the offsets must be int64")
                if o.len < 8:
                    raise ValueError("n addresses have n + 1 offsets")
                return self.add_spans(<const int64_t *>o.buf, <size_t>o.len // 8 - 1, <const uint8_t *>d.buf,
                                      <size_t>d.len)
            finally:
                PyBuffer_Release(&d)
        finally:
            PyBuffer_Release(&o)

    cdef add_sequence(self, list addresses):
        cdef size_t i, n = <size_t>len(addresses), len_ = 0, bytes_ = 0
        cdef const uint8_t *p = NULL
        cdef mg_buf text, offsets
        for i in range(n):  # what can fail comes first
            mg_key_view(addresses[i], &p, &len_)
            bytes_ += len_
        mg_buf_init(&text)
        mg_buf_init(&offsets)
        try:
            check(mg_buf_reserve(&text, bytes_ + 1))  # memcpy wants a place even for nothing
            check(mg_buf_reserve(&offsets, 8 * (n + 1)))
            bytes_ = 0
            (<int64_t *>offsets.data)[0] = 0
            for i in range(n):
                mg_key_view(addresses[i], &p, &len_)
                memcpy(text.data + bytes_, p, len_)
                bytes_ += len_
                (<int64_t *>offsets.data)[i + 1] = <int64_t>bytes_
            return self.add_spans(<const int64_t *>offsets.data, n, text.data, bytes_)
        finally:
            mg_buf_free(&text)
            mg_buf_free(&offsets)

    cdef add_spans(self, const int64_t *off, size_t n, const uint8_t *p, size_t bytes_):
        import numpy
        cdef Py_buffer out
        cdef mg_status st
        cdef uint32_t base
        cdef uint32_t *first
        if off[n] < 0 or <size_t>off[n] > bytes_:
            raise ValueError("the last offset is beyond the data")
        firsts = numpy.empty(n, dtype=numpy.uint32)
        PyObject_GetBuffer(firsts, &out, PyBUF_WRITABLE)
        first = <uint32_t *>out.buf
        try:
            with self.lock:
                base = self.numbers(n)
                with nogil:
                    st = mg_seen_add_many(self.s, p, off, n, base, first)
                self.ended(st)
        finally:
            PyBuffer_Release(&out)
        return firsts
