# Addresses that the kernel leaves open (email.idn), on the short way: those whose domain has been met before. What is
# wrong with one that is not accepted here, and what an unknown domain is, mailgenius.address.idn finds out.
from cpython.dict cimport PyDict_GetItem
from cpython.ref cimport PyObject
from unicodedata import is_normalized, normalize

cdef extern from "Python.h":
    const char *PyUnicode_AsUTF8AndSize(object text, Py_ssize_t *size) except NULL
    Py_ssize_t PyUnicode_FindChar(object text, Py_UCS4 ch, Py_ssize_t start, Py_ssize_t end, int direction) except -2
    object PyUnicode_FromObject(object text)
    object PyUnicode_Substring(object text, Py_ssize_t start, Py_ssize_t end)
    Py_ssize_t PyUnicode_GET_LENGTH(object text)
    Py_UCS4 PyUnicode_READ_CHAR(object text, Py_ssize_t index)
    bint PyUnicode_IS_ASCII(object text)

__all__ += ["address_accept"]


cdef Py_ssize_t _utf8_length(str text):
    cdef Py_ssize_t i, n = PyUnicode_GET_LENGTH(text), octets = n
    cdef Py_UCS4 c
    for i in range(n):
        c = PyUnicode_READ_CHAR(text, i)
        octets += (c >= 0x80) + (c >= 0x800) + (c >= 0x10000)
    return octets


def address_accept(given, dict known not None, uint32_t options=0):
    """The normalised address, or None: it is not good, or `known` (domain -> its A-labels, if it has any) lacks its domain.

    All limits hold for the given form and for the normalised one.
    """
    cdef uint8_t plain[254]
    cdef str address = PyUnicode_FromObject(given)  # itself, unless its class only derives from str
    cdef Py_ssize_t n = PyUnicode_GET_LENGTH(address), at, size, host
    cdef const char *text
    cdef uint32_t where = 0
    cdef int reason
    cdef uint8_t *room = NULL
    cdef PyObject *found
    cdef Py_ssize_t i
    if n == 0 or n > 254:
        return None
    at = PyUnicode_FindChar(address, c"@", 0, n, -1)
    if at < 0:
        return None
    found = PyDict_GetItem(known, PyUnicode_Substring(address, at + 1, n))
    if found == NULL or not isinstance(<object>found, str):
        return None
    labels = <str>found
    # Not printable are exactly the categories C (controls, formats, unassigned) and Z (separators), except the space,
    # which the kernel refuses.
    if not address.isprintable() or _utf8_length(address) > 254:
        return None
    local = PyUnicode_Substring(address, 0, at)
    if not PyUnicode_IS_ASCII(local):
        if _utf8_length(local) > 64 or not is_normalized("NFC", local):
            return None
        # Lower case may grow, and decompose what has to be composed again: the limits are checked on the result.
        local = normalize("NFC", local.lower())
    text = PyUnicode_AsUTF8AndSize(local, &size)
    host = PyUnicode_GET_LENGTH(labels)
    if size + 1 + host > 254:
        return None
    for i in range(size):  # a letter for every byte that is not ASCII: no rule of the kernel minds
        plain[i] = <uint8_t>text[i] if <uint8_t>text[i] < 0x80 else c"x"
        if c"A" <= plain[i] <= c"Z":
            plain[i] |= 0x20
    plain[size] = c"@"
    text = PyUnicode_AsUTF8AndSize(labels, &host)
    memcpy(plain + size + 1, text, host)
    reason = mg_address_check(plain, size + 1 + host, options, NULL, &where)
    if reason != MG_R_ok and reason != MG_R_email_idn:  # it is about the A-labels, and those are known to be good
        return None
    if not PyUnicode_IS_ASCII(local):
        return f"{local}@{labels}"
    result = mg_ascii_new(size + 1 + host, &room)
    memcpy(room, plain, size + 1 + host)
    return result
