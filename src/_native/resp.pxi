# RespReader: what Redis sends, as Python values (kernels/resp.c). The kernel reads elements; what belongs into what is kept
# here, so that a reply may come in any number of pieces and each of its elements is read once.
#
# The bytes are in a bytearray that is never resized: when it is too small there is a new one, and who still holds a view of
# the old one harms nobody.
from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_FromStringAndSize
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.string cimport memmove

cdef extern from "Python.h":
    double PyOS_string_to_double(const char *s, char **end, object overflow) except? -1

cdef extern from "mg.h" nogil:
    ctypedef enum mg_resp_kind:
        MG_RESP_STRING, MG_RESP_ERROR, MG_RESP_INTEGER, MG_RESP_DOUBLE, MG_RESP_NULL, MG_RESP_TRUE, MG_RESP_FALSE
        MG_RESP_ARRAY, MG_RESP_MAP, MG_RESP_ATTRIBUTE, MG_RESP_PUSH
    ctypedef struct mg_resp:
        mg_resp_kind kind
        const uint8_t *at
        size_t len
        int64_t number
        const char *why
    size_t MG_RESP_FLOAT
    mg_status mg_resp_next(const uint8_t *p, size_t n, mg_resp *out, size_t *used) noexcept

__all__ += ["RespReader"]

cdef enum:
    RESP_DEPTH = 128  # aggregates within aggregates
    RESP_ROOM = 262144  # bytes that are read at a time


cdef struct resp_level:
    int64_t left  # elements that are still to come
    int kind


cdef object resp_double(const mg_resp *it):
    cdef char held[512]
    memcpy(held, it.at, it.len)
    held[it.len] = 0
    return PyOS_string_to_double(held, NULL, None)


@cython.auto_pickle(False)
cdef class RespReader:
    """Replies out of what arrives: ``feed`` bytes, or receive them into ``room()`` and say how many with ``filled``; then
    ``gets`` until it gives ``not_yet``.

    Strings and big numbers are bytes; arrays and sets are lists, maps dicts; errors are ``error(text)``, which is not
    raised; what a server sends unasked is a ``push``, a type that is a list. Attributes are left out. What is not RESP raises
    ValueError, and from then on each call does. For one thread at a time.
    """
    cdef object store, view, error, push, not_yet, broken
    cdef list nest  # aggregates that are not whole, the outermost first
    cdef list keys  # of the maps among them: the key whose value is to come
    cdef uint8_t *base
    cdef Py_ssize_t begin, end, size
    cdef int depth
    cdef resp_level levels[RESP_DEPTH]

    def __init__(self, error, push, not_yet):
        self.error, self.push, self.not_yet, self.broken = error, push, not_yet, None
        self.nest, self.keys, self.depth = [], [], 0
        self.begin = self.end = 0
        self.hold(4096)

    cdef int hold(self, Py_ssize_t size) except -1:
        """What is there, at the beginning of new memory."""
        store = PyByteArray_FromStringAndSize(NULL, size)
        cdef uint8_t *base = <uint8_t *>PyByteArray_AS_STRING(store)
        if self.end > self.begin:
            memcpy(base, self.base + self.begin, self.end - self.begin)
        self.store, self.base, self.size, self.view = store, base, size, None
        self.end -= self.begin
        self.begin = 0
        return 0

    cdef int reserve(self, Py_ssize_t more) except -1:
        """Memory for so many bytes behind what is there."""
        cdef Py_ssize_t held = self.end - self.begin
        if self.begin and not held:
            self.begin = self.end = 0
        if self.size - self.end >= more:
            return 0
        if self.size - held >= more and held <= self.size >> 1:
            memmove(self.base, self.base + self.begin, held)
            self.begin, self.end = 0, held
            return 0
        return self.hold(max(held + more, 2 * held))

    def feed(self, data, Py_ssize_t at=0, Py_ssize_t count=-1):
        """Takes bytes of a buffer, from ``at`` on."""
        cdef Py_buffer source
        PyObject_GetBuffer(data, &source, PyBUF_SIMPLE)
        try:
            if count < 0:
                count = source.len - at
            if at < 0 or count < 0 or at > source.len - count:
                raise ValueError(f"{count} bytes from {at} on, of {source.len}")
            self.reserve(count)
            memcpy(self.base + self.end, <uint8_t *>source.buf + at, count)
            self.end += count
        finally:
            PyBuffer_Release(&source)

    def room(self):
        """A writable view of memory behind what is there."""
        if self.begin == self.end and self.size != RESP_ROOM:
            self.hold(RESP_ROOM)  # also after a reply that needed more
        self.reserve(RESP_ROOM >> 1)
        if self.view is None:
            self.view = memoryview(self.store)
        return self.view[self.end:] if self.end else self.view

    def filled(self, Py_ssize_t count):
        """So many bytes have been written into ``room()``."""
        if not 0 <= count <= self.size - self.end:
            raise ValueError(f"{count} bytes do not fit into {self.size - self.end}")
        self.end += count

    def gets(self):
        """The next reply; ``not_yet`` if it is not whole."""
        return self.next()

    cdef object next(self):
        cdef mg_resp it
        cdef size_t used
        cdef mg_status status
        cdef object value
        if self.broken is not None:
            raise ValueError(self.broken)
        while True:
            status = mg_resp_next(self.base + self.begin, <size_t>(self.end - self.begin), &it, &used)
            if status == MG_NEED_MORE:
                return self.not_yet
            if status != MG_OK:
                self.refuse(it.why.decode())
            self.begin += <Py_ssize_t>used
            if it.kind == MG_RESP_STRING:
                value = PyBytes_FromStringAndSize(<const char *>it.at, <Py_ssize_t>it.len)
            elif it.kind == MG_RESP_INTEGER:
                value = it.number
            elif it.kind == MG_RESP_NULL:
                value = None
            elif it.kind >= MG_RESP_ARRAY:
                value = self.opened(&it)
                if it.number:
                    continue
                if it.kind == MG_RESP_ATTRIBUTE:
                    continue
            elif it.kind == MG_RESP_ERROR:
                value = self.error(PyUnicode_DecodeUTF8(<const char *>it.at, <Py_ssize_t>it.len, "replace"))
            elif it.kind == MG_RESP_DOUBLE:
                value = resp_double(&it)
            else:
                value = it.kind == MG_RESP_TRUE
            if not self.depth:
                return value
            value = self.placed(value)
            if value is not NOTHING:
                return value

    cdef object opened(self, const mg_resp *it):
        """The aggregate that begins; if it has elements, they are what comes next."""
        cdef object value
        if it.kind == MG_RESP_PUSH:
            if self.depth:
                self.refuse("a push within a reply")
            value = self.push()
        elif it.kind == MG_RESP_MAP:
            value = {}
        else:
            value = []
        if it.number:
            if self.depth == RESP_DEPTH:
                self.refuse(f"more than {RESP_DEPTH} aggregates within one another")
            self.levels[self.depth].kind = it.kind
            self.levels[self.depth].left = it.number
            if it.kind == MG_RESP_MAP or it.kind == MG_RESP_ATTRIBUTE:
                self.levels[self.depth].left *= 2
            self.nest.append(value)
            self.keys.append(None)
            self.depth += 1
        return value

    cdef object placed(self, object value):
        """Puts a value where it belongs; what is whole then, or NOTHING."""
        cdef resp_level *level
        while self.depth:
            level = &self.levels[self.depth - 1]
            level.left -= 1
            if level.kind == MG_RESP_MAP:
                if level.left & 1:
                    self.keys[self.depth - 1] = value
                else:
                    try:
                        self.nest[self.depth - 1][self.keys[self.depth - 1]] = value
                    except TypeError:
                        self.refuse("a map with a key that is an aggregate")
            elif level.kind != MG_RESP_ATTRIBUTE:
                (<list>self.nest[self.depth - 1]).append(value)
            if level.left:
                return NOTHING
            value = self.nest.pop()
            self.keys.pop()
            self.depth -= 1
            if level.kind == MG_RESP_ATTRIBUTE:
                return NOTHING
        return value

    cdef int refuse(self, str why) except -1:
        self.broken = why
        raise ValueError(why)
