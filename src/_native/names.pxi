# Namer: names of cached values, for the keys that nearly all are. mailgenius.cache.keys says what a name is, and makes the
# others.
from libc.string cimport memchr

cdef extern from "Python.h":
    bint PyUnicode_IS_ASCII(object text)
    Py_ssize_t PyUnicode_GET_LENGTH(object text)
    const void *PyUnicode_1BYTE_DATA(object text)
    object PyUnicode_Concat(object left, object right)
    long PyLong_AsLongAndOverflow(object value, int *overflow) except? -1
    object PyUnicode_New(Py_ssize_t size, Py_UCS4 maxchar)

__all__ += ["Namer"]


cdef inline bint is_mark(char c) noexcept:
    return c == c'%' or c == c'(' or c == c'#'


cdef object numbered(str start, long number):
    # start and the number, in one piece of memory.
    cdef unsigned long left = <unsigned long>number if number >= 0 else 0 - <unsigned long>number
    cdef char[20] text
    cdef char *p = text + 20
    cdef Py_ssize_t n = PyUnicode_GET_LENGTH(start), count
    cdef char *out
    while True:
        p -= 1
        p[0] = <char>(c'0' + left % 10)
        left //= 10
        if not left:
            break
    if number < 0:
        p -= 1
        p[0] = c'-'
    count = text + 20 - p
    if not PyUnicode_IS_ASCII(start):
        return PyUnicode_Concat(start, p[:count].decode("ascii"))
    made = PyUnicode_New(n + count, 127)
    out = <char *>PyUnicode_1BYTE_DATA(made)
    memcpy(out, PyUnicode_1BYTE_DATA(start), <size_t>n)
    memcpy(out + n, p, <size_t>count)
    return made


@cython.final
cdef class Namer:
    """``namer(key)`` is ``start`` and the key, if that is an int of 64 bits, or ASCII text of up to 50 characters that holds no
    ``{`` and begins with none of ``%``, ``(`` and ``#``; else it is ``start`` and ``other(key)``."""
    cdef str start
    cdef object other

    def __cinit__(self, str start not None, other):
        self.start, self.other = start, other

    def __call__(self, key):
        return self.named(key)

    cdef object named(self, object key):
        cdef const char *text
        cdef Py_ssize_t n
        cdef int beyond = 0
        cdef long number
        if type(key) is str:
            n = PyUnicode_GET_LENGTH(key)
            if n <= 50 and PyUnicode_IS_ASCII(key):
                text = <const char *>PyUnicode_1BYTE_DATA(key)
                if not n or (not is_mark(text[0]) and memchr(text, c'{', <size_t>n) == NULL):
                    return PyUnicode_Concat(self.start, key)
        elif type(key) is int:
            number = PyLong_AsLongAndOverflow(key, &beyond)
            if not beyond:
                return numbered(self.start, number)
        return PyUnicode_Concat(self.start, self.other(key))
