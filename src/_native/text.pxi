# Encodings: is it UTF-8, and if not, make it so (text.c).
cdef extern from "mg.h" nogil:
    size_t mg_utf8_valid(const uint8_t *p, size_t n) noexcept
    mg_status mg_from_cp1252(const uint8_t *p, size_t n, uint8_t *out, size_t cap, size_t *used, size_t *made) noexcept
    mg_status mg_from_latin1(const uint8_t *p, size_t n, uint8_t *out, size_t cap, size_t *used, size_t *made) noexcept
    mg_status mg_from_utf16(const uint8_t *p, size_t n, int big_endian, int eof, uint8_t *out, size_t cap,
                            size_t *used, size_t *made) noexcept
cdef extern from "Python.h":
    ctypedef struct PyObject
    PyObject *new_bytes "PyBytes_FromStringAndSize"(const char *, Py_ssize_t) except NULL
    char *bytes_data "PyBytes_AS_STRING"(PyObject *)
    int resize_bytes "_PyBytes_Resize"(PyObject **, Py_ssize_t) except -1
    void release "Py_DECREF"(PyObject *)

__all__ += ["transcode", "utf8_valid"]


def utf8_valid(data):
    """Length in bytes of the longest prefix of data that is whole, valid UTF-8 characters (RFC 3629)."""
    cdef Py_buffer view
    cdef size_t n
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    with nogil:
        n = mg_utf8_valid(<const uint8_t *>view.buf, <size_t>view.len)
    PyBuffer_Release(&view)
    return n


cdef mg_status transcode_some(int kind, const uint8_t *p, size_t n, int eof, uint8_t *out, size_t cap, size_t *used,
                              size_t *made) noexcept nogil:
    if kind == 0:
        return mg_from_cp1252(p, n, out, cap, used, made)
    if kind == 1:
        return mg_from_latin1(p, n, out, cap, used, made)
    return mg_from_utf16(p, n, kind == 3, eof, out, cap, used, made)


def transcode(data, str encoding not None, bint eof):
    """(UTF-8, bytes of data used). A half character at the end is left for the next call, unless ``eof``.

    ``encoding``: "cp1252", "latin-1", "utf-16-le" or "utf-16-be". What it does not define becomes the byte 0xFF.
    """
    cdef Py_buffer view
    cdef PyObject *out
    cdef size_t used = 0, made = 0, u = 0, m = 0, cap, n
    cdef const uint8_t *p
    cdef uint8_t *o
    cdef mg_status status
    cdef int kind
    try:
        kind = ("cp1252", "latin-1", "utf-16-le", "utf-16-be").index(encoding)
    except ValueError:
        raise ValueError(f"encoding must be cp1252, latin-1, utf-16-le or utf-16-be, not {encoding!r}") from None
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    try:
        n = <size_t>view.len
        p = <const uint8_t *>view.buf
        cap = (n if kind < 2 else n // 2) + n // 16 + 64  # enough for Western text; else, below, for the worst there is
        out = new_bytes(NULL, <Py_ssize_t>cap)
        while True:
            o = <uint8_t *>bytes_data(out)
            with nogil:
                status = transcode_some(kind, p + used, n - used, eof, o + made, cap - made, &u, &m)
            used += u
            made += m
            if status != MG_FULL:
                break
            cap = made + (n - used) * (3 if kind < 2 else 2) + 64
            resize_bytes(&out, <Py_ssize_t>cap)
        resize_bytes(&out, <Py_ssize_t>made)
        result = <object>out
        release(out)  # the cast above took a reference of its own
        return result, used
    finally:
        PyBuffer_Release(&view)
