# Addresses: one, or a whole list, array of offsets or Arrow column at a time. What they return for an address that needs
# the internationalised rules is the number of "email.idn"; mailgenius.address.idn then decides.
from cpython.ref cimport PyObject
from libc.string cimport memcmp

cdef extern from "Python.h":
    list PyList_New(Py_ssize_t n)

cdef extern from "mg.h" nogil:
    enum:
        MG_R_ok
        MG_R_email_idn
        MG_R_email_empty
    uint32_t MG_ADDR_ALLOW_QUOTED
    uint32_t MG_ADDR_ALLOW_SPECIAL_USE
    uint32_t MG_ADDR_MAX
    int mg_address_check(const uint8_t *p, size_t n, uint32_t options, uint8_t *norm, uint32_t *at) noexcept
    void mg_address_many(const uint8_t *p, const int64_t *off, size_t n, uint32_t options, uint8_t *reasons,
                         uint8_t *norm) noexcept
    void mg_address_many32(const uint8_t *p, const int32_t *off, size_t n, uint32_t options, uint8_t *reasons,
                           uint8_t *norm) noexcept
    void mg_address_gather(const uint8_t *const *p, const uint32_t *len, size_t n, uint32_t options,
                           uint8_t *reasons) noexcept
    mg_status mg_address_string_views(const uint8_t *views, const uint8_t **buffers, const int64_t *sizes,
                                      size_t n_buffers, const uint8_t *bits, size_t bit, size_t n, uint32_t options,
                                      uint8_t *reasons) noexcept
    const uint8_t *mg_string_view_text(const uint8_t *view, const uint8_t **buffers, const int64_t *sizes,
                                       size_t n_buffers, uint32_t *len) noexcept

cdef extern from *:
    """
    /* Finds the bytes of a str (where they are ASCII), bytes or None without making anything. 0: of another type.
     * A str that is not ASCII is given as one byte that is not, so that its verdict is "needs the slow path". */
    static int mg_address_view(PyObject *o, const uint8_t **p, uint32_t *len) {
        static const uint8_t wide[1] = {0x80};
        Py_ssize_t n;
        if (PyUnicode_Check(o)) {
            if (!PyUnicode_IS_COMPACT_ASCII(o)) {
                if (PyUnicode_GET_LENGTH(o) && PyUnicode_IS_ASCII(o)) { /* an instance of a subclass of str */
                    *p = PyUnicode_1BYTE_DATA(o);
                    n = PyUnicode_GET_LENGTH(o);
                } else {
                    *p = wide;
                    n = PyUnicode_GET_LENGTH(o) ? 1 : 0;
                }
            } else {
                *p = (const uint8_t *)((PyASCIIObject *)o + 1);
                n = PyUnicode_GET_LENGTH(o);
            }
        } else if (PyBytes_Check(o)) {
            *p = (const uint8_t *)PyBytes_AS_STRING(o);
            n = PyBytes_GET_SIZE(o);
        } else if (o == Py_None || (PyFloat_Check(o) && PyFloat_AS_DOUBLE(o) != PyFloat_AS_DOUBLE(o))) { /* NaN: pandas */
            *p = wide;
            n = 0;
        } else {
            return 0;
        }
        *len = n > 1 << 20 ? 1u << 20 : (uint32_t)n; /* far over any limit already */
        return 1;
    }
    /* The views of list[from .. from+count). Objects lie anywhere in memory, so they are asked for some steps ahead.
     * -1, or the index of an item that is no text. The list must not change meanwhile. keep: NULL, or a new list of the
     * same size that gets the same items. */
    static Py_ssize_t mg_address_views(PyObject *list, PyObject *keep, Py_ssize_t from, Py_ssize_t count,
                                       const uint8_t **p, uint32_t *len) {
        Py_ssize_t size = PyList_GET_SIZE(list);
        for (Py_ssize_t i = 0; i < count; i++) {
            if (from + i + 16 < size) {
                const char *ahead = (const char *)PyList_GET_ITEM(list, from + i + 16);
                __builtin_prefetch(ahead);
                __builtin_prefetch(ahead + 64);
            }
            PyObject *item = PyList_GET_ITEM(list, from + i);
            if (keep) {
                Py_INCREF(item);
                PyList_SET_ITEM(keep, from + i, item);
            }
            if (!mg_address_view(item, &p[i], &len[i])) return from + i;
        }
        return -1;
    }
    /* A new ASCII str of n bytes; *p = where they go. */
    static PyObject *mg_ascii_new(Py_ssize_t n, uint8_t **p) {
        PyObject *o = PyUnicode_New(n, 127);
        if (o) *p = PyUnicode_1BYTE_DATA(o);
        return o;
    }
    #ifdef Py_GIL_DISABLED
    #define MG_FREE_THREADED 1
    #else
    #define MG_FREE_THREADED 0
    #endif
    """
    bint mg_address_view(object o, const uint8_t **p, uint32_t *len)
    Py_ssize_t mg_address_views(object items, PyObject *keep, Py_ssize_t start, Py_ssize_t count, const uint8_t **p, uint32_t *len)
    object mg_ascii_new(Py_ssize_t n, uint8_t **p)
    bint MG_FREE_THREADED

__all__ += ["ALLOW_QUOTED", "ALLOW_SPECIAL_USE", "address_check", "address_list", "address_normalize", "address_offsets",
            "address_offsets32", "address_reason"]

ALLOW_QUOTED = MG_ADDR_ALLOW_QUOTED
ALLOW_SPECIAL_USE = MG_ADDR_ALLOW_SPECIAL_USE


def address_check(address, uint32_t options=0):
    """(reason number, offset of the byte it is about, normalised bytes or None) of one address."""
    cdef Py_buffer view
    cdef uint32_t at = 0
    cdef int reason
    cdef uint8_t norm[254]
    PyObject_GetBuffer(address, &view, PyBUF_SIMPLE)
    try:
        reason = mg_address_check(<const uint8_t *>view.buf, view.len, options, norm, &at)
        return reason, at, PyBytes_FromStringAndSize(<const char *>norm, view.len) if reason == MG_R_ok else None
    finally:
        PyBuffer_Release(&view)


def address_normalize(address, uint32_t options=0):
    """The normalised address as str, or the number of the reason it is refused for (or that of email.idn)."""
    if not isinstance(address, str):
        raise TypeError(f"an address is str, not {type(address).__name__}")
    cdef const uint8_t *p = NULL
    cdef uint32_t n = 0, at = 0
    cdef uint8_t norm[254]
    cdef uint8_t *room = NULL
    cdef int reason
    mg_address_view(address, &p, &n)
    reason = mg_address_check(p, n, options, norm, &at)
    if reason != MG_R_ok:
        return reason
    if memcmp(norm, p, n) == 0 and type(address) is str:
        return address
    text = mg_ascii_new(n, &room)
    memcpy(room, norm, n)
    return text


def address_reason(bytes address not None, uint32_t options=0):
    """The reason number alone."""
    cdef uint32_t at = 0
    return mg_address_check(<const uint8_t *>PyBytes_AS_STRING(address), PyBytes_GET_SIZE(address), options, NULL, &at)


cdef uint8_t *_address_out(object out, Py_buffer *view, Py_ssize_t n) except? NULL:
    PyObject_GetBuffer(out, view, PyBUF_WRITABLE)
    if view.len < n:
        PyBuffer_Release(view)
        raise ValueError(f"room for {view.len} verdicts, {n} needed")
    return <uint8_t *>view.buf


def address_list(list addresses not None, uint32_t options, reasons, bint keep=False):
    """Writes the reason number of each str, bytes or None to the uint8 buffer `reasons`. Makes no objects.

    keep: returns a copy of the list, made on the way, while each address is at hand.
    """
    cdef list kept = None
    cdef const uint8_t *p[256]
    cdef uint32_t length[256]
    cdef Py_buffer view
    cdef Py_ssize_t n, i = 0, k, m
    cdef uint8_t *out
    if MG_FREE_THREADED:
        addresses = list(addresses)  # a private copy: nobody frees what is being read
    n = len(addresses)
    if keep:
        kept = PyList_New(n)
    out = _address_out(reasons, &view, n)
    try:
        while i < n:
            m = min(n - i, 256)
            k = mg_address_views(addresses, <PyObject *>kept if keep else NULL, i, m, p, length)
            if k >= 0:
                raise TypeError(f"address {k} is {type(addresses[k]).__name__}; str, bytes or None was expected")
            mg_address_gather(p, length, m, options, out + i)
            i += m
    finally:
        PyBuffer_Release(&view)
    return kept


cdef _address_offsets(data, offsets, Py_ssize_t width, uint32_t options, reasons, normalized):
    cdef Py_buffer text, off, out, norm
    cdef Py_ssize_t n, i
    cdef int64_t last, value
    cdef uint8_t *room = NULL
    cdef bint has_norm = normalized is not None
    PyObject_GetBuffer(data, &text, PyBUF_SIMPLE)
    try:
        PyObject_GetBuffer(offsets, &off, PyBUF_CONTIG_RO)
        try:
            if off.len < width or off.len % width:
                raise ValueError("offsets: one more than there are addresses was expected")
            n = off.len // width - 1
            last = 0
            with nogil:
                for i in range(n + 1):
                    value = (<int64_t *>off.buf)[i] if width == 8 else (<int32_t *>off.buf)[i]
                    if value < last or value > text.len:
                        last = -1
                        break
                    last = value
            if last < 0:
                raise ValueError("offsets must rise and stay inside the data")
            _address_out(reasons, &out, n)
            try:
                if has_norm:
                    room = _address_out(normalized, &norm, last)
                try:
                    with nogil:
                        if width == 8:
                            mg_address_many(<const uint8_t *>text.buf, <const int64_t *>off.buf, n, options,
                                            <uint8_t *>out.buf, room)
                        else:
                            mg_address_many32(<const uint8_t *>text.buf, <const int32_t *>off.buf, n, options,
                                              <uint8_t *>out.buf, room)
                finally:
                    if has_norm:
                        PyBuffer_Release(&norm)
            finally:
                PyBuffer_Release(&out)
        finally:
            PyBuffer_Release(&off)
    finally:
        PyBuffer_Release(&text)


def address_offsets(data, offsets, uint32_t options, reasons, normalized=None):
    """Addresses data[offsets[i]:offsets[i+1]] with int64 offsets: reason numbers and lower-cased bytes are written."""
    _address_offsets(data, offsets, 8, options, reasons, normalized)


def address_offsets32(data, offsets, uint32_t options, reasons, normalized=None):
    """The same with int32 offsets."""
    _address_offsets(data, offsets, 4, options, reasons, normalized)


include "address_open.pxi"
include "address_arrow.pxi"
