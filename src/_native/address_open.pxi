# Addresses that the kernel leaves open (email.idn), on the short way: those whose domain has been met before. What is
# wrong with one that is not accepted here, and what an unknown domain is, mailgenius.address.idn finds out.
# `known` maps a domain as written (free of control and formatting characters) to its A-labels, or to a number if it has none.
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
    object PyUnicode_DecodeUTF8(const char *text, Py_ssize_t size, const char *errors)

cdef extern from *:
    """
    /* Are all characters such that no table of Unicode is needed: assigned letters, printable, in normal form C whatever
     * stands beside them? Latin, Greek, Cyrillic, Kana, Han, Hangul: nearly all that is met. Anything else, or not UTF-8: 0. */
    static int mg_utf8_is_plain(const uint8_t *p, Py_ssize_t n) {
        for (Py_ssize_t i = 0; i < n;) {
            uint32_t c = p[i];
            if (c < 0x80) {
                i++;
            } else if (c >= 0xc3 && c <= 0xdf && i + 1 < n && (p[i + 1] & 0xc0) == 0x80) {
                c = (c & 31) << 6 | (p[i + 1] & 63);
                if (!(c <= 0x2af || (c >= 0x400 && c <= 0x481) || c == 0x386 || (c >= 0x388 && c <= 0x38a) || c == 0x38c ||
                      (c >= 0x38e && c <= 0x3a1) || (c >= 0x3a3 && c <= 0x3ce)))
                    return 0;
                i += 2;
            } else if (c >= 0xe3 && c <= 0xed && i + 2 < n && (p[i + 1] & 0xc0) == 0x80 && (p[i + 2] & 0xc0) == 0x80) {
                c = (c & 15) << 12 | (uint32_t)(p[i + 1] & 63) << 6 | (p[i + 2] & 63);
                if (!((c >= 0x3041 && c <= 0x3096) || (c >= 0x30a1 && c <= 0x30fe) || (c >= 0x4e00 && c <= 0x9fa5) ||
                      (c >= 0xac00 && c <= 0xd7a3)))
                    return 0;
                i += 3;
            } else {
                return 0;
            }
        }
        return 1;
    }
    /* The UTF-8 form of a str of at most 254 octets, without keeping it in the str; -1: longer, or a lone surrogate. */
    static Py_ssize_t mg_utf8_of(PyObject *text, uint8_t *out) {
        Py_ssize_t n = PyUnicode_GET_LENGTH(text), made = 0;
        for (Py_ssize_t i = 0; i < n; i++) {
            Py_UCS4 c = PyUnicode_READ_CHAR(text, i);
            if (made > 254 - 4) { /* rare: near the limit a character is refused that might just fit; the caller has another way */
                if (c >= 0x80 || made > 253) return -1;
            }
            if (c < 0x80) {
                out[made++] = (uint8_t)c;
            } else if (c < 0x800) {
                out[made++] = (uint8_t)(0xc0 | c >> 6);
                out[made++] = (uint8_t)(0x80 | (c & 63));
            } else if (c < 0x10000) {
                if (c >= 0xd800 && c <= 0xdfff) return -1;
                out[made++] = (uint8_t)(0xe0 | c >> 12);
                out[made++] = (uint8_t)(0x80 | (c >> 6 & 63));
                out[made++] = (uint8_t)(0x80 | (c & 63));
            } else {
                out[made++] = (uint8_t)(0xf0 | c >> 18);
                out[made++] = (uint8_t)(0x80 | (c >> 12 & 63));
                out[made++] = (uint8_t)(0x80 | (c >> 6 & 63));
                out[made++] = (uint8_t)(0x80 | (c & 63));
            }
        }
        return made;
    }
    """
    bint mg_utf8_is_plain(const uint8_t *p, Py_ssize_t n)
    Py_ssize_t mg_utf8_of(object text, uint8_t *out)

__all__ += ["address_accept", "address_list_open"]


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


cdef bint _open_good(const uint8_t *p, Py_ssize_t n, dict known, uint32_t options) except -1:
    """Is it certainly good? The verdict of address_accept, or False where that would need tables of Unicode."""
    cdef uint8_t plain[254]
    cdef const char *labels
    cdef Py_ssize_t local = n, host, i, grown
    cdef uint8_t wide = 0
    cdef uint32_t where = 0
    cdef int reason
    cdef PyObject *found
    while local > 0 and p[local - 1] != c"@":
        local -= 1
    local -= 1
    if local < 1 or local > 64 or n > 254:
        return False
    try:
        found = PyDict_GetItem(known, PyUnicode_DecodeUTF8(<const char *>p + local + 1, n - local - 1, NULL))
    except UnicodeDecodeError:
        return False
    if found == NULL or not isinstance(<object>found, str):
        return False
    labels = PyUnicode_AsUTF8AndSize(<object>found, &host)
    for i in range(local):
        wide |= p[i]
        plain[i] = p[i] if p[i] < 0x80 else c"x"
    grown = local if wide < 0x80 else local + local // 2  # in lower case: two octets may become three
    if grown > 64 or grown + 1 + host > 254 or (wide >= 0x80 and not mg_utf8_is_plain(p, local)):
        return False
    plain[local] = c"@"
    memcpy(plain + local + 1, labels, host)
    reason = mg_address_check(plain, local + 1 + host, options, NULL, &where)
    return reason == MG_R_ok or reason == MG_R_email_idn


def address_list_open(list addresses not None, dict known not None, uint32_t options, reasons):
    """Goes through the entries whose number is that of email.idn and marks the good ones; returns the places of the rest."""
    cdef Py_buffer view
    cdef uint8_t text[254]
    cdef Py_ssize_t n = len(addresses), i, size
    cdef uint8_t *out = _address_out(reasons, &view, n)
    rest = []
    try:
        for i in range(n):
            if out[i] != MG_R_email_idn:
                continue
            address = addresses[i]
            if isinstance(address, str):
                size = mg_utf8_of(address, text)
                if size >= 0 and _open_good(text, size, known, options):
                    out[i] = MG_R_ok
                    continue
            elif isinstance(address, bytes):
                if _open_good(<const uint8_t *>PyBytes_AS_STRING(address), len(address), known, options):
                    out[i] = MG_R_ok
                    continue
            rest.append(i)
    finally:
        PyBuffer_Release(&view)
    return rest
