# Addresses that the kernel leaves open (email.idn), on the short way: those whose domain has been met before. What is
# wrong with one that is not accepted here, and what an unknown domain is, mailgenius.address.idn finds out.
# `known` maps a domain as written (UTF-8, free of control and formatting characters) to its A-labels, or to a number if it
# has none.
from cpython.bytes cimport PyBytes_CheckExact
from cpython.dict cimport PyDict_GetItem
from libc.string cimport memchr
from unicodedata import is_normalized, normalize

cdef extern from "Python.h":
    bint PyUnicode_IS_ASCII(object text)
    object PyUnicode_FromObject(object text)
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
    /* local@labels with a letter for every byte of the local part that is not ASCII, and for the hyphens of "xn--": no rule
     * of the kernel minds the former, and what stands behind the latter has been checked. Returns its length. */
    static size_t mg_address_plain(const uint8_t *local, size_t n, const uint8_t *labels, size_t host, uint8_t *out) {
        for (size_t i = 0; i < n; i++) out[i] = local[i] < 0x80 ? local[i] : 'x';
        out[n] = '@';
        memcpy(out + n + 1, labels, host);
        uint8_t *label = out + n + 1, *end = label + host;
        while (end - label > 4) {
            if (memcmp(label, "xn--", 4) == 0) label[2] = label[3] = 'x';
            uint8_t *dot = memchr(label, '.', (size_t)(end - label));
            if (!dot) break;
            label = dot + 1;
        }
        return n + 1 + host;
    }
    """
    bint mg_utf8_is_plain(const uint8_t *p, Py_ssize_t n)
    Py_ssize_t mg_utf8_of(object text, uint8_t *out)
    size_t mg_address_plain(const uint8_t *local, size_t n, const uint8_t *labels, size_t host, uint8_t *out)

__all__ += ["address_accept", "address_list_open"]


cdef bytes _labels_of(const uint8_t *p, Py_ssize_t n, dict known, Py_ssize_t *local):
    """The A-labels of the domain, if it is known and has any; *local = length of what stands before the last @."""
    cdef Py_ssize_t at = n - 1
    cdef PyObject *found
    while at > 0 and p[at] != c"@":
        at -= 1
    local[0] = at
    if at < 1 or at > 64 or n > 254:
        return None
    found = PyDict_GetItem(known, PyBytes_FromStringAndSize(<const char *>p + at + 1, n - at - 1))
    return <bytes>found if found != NULL and PyBytes_CheckExact(<object>found) else None


cdef bint _good_at(const uint8_t *local, Py_ssize_t n, bytes labels, uint32_t options):
    cdef uint8_t plain[320]
    cdef uint32_t at = 0
    cdef Py_ssize_t host = PyBytes_GET_SIZE(labels)
    if n > 64 or n + 1 + host > 254:
        return False
    return mg_address_check(plain, mg_address_plain(local, n, <const uint8_t *>PyBytes_AS_STRING(labels), host, plain),
                            options, NULL, &at) == MG_R_ok


def address_accept(given, dict known not None, uint32_t options=0):
    """The normalised address, or None: it is not good, or `known` lacks its domain.

    All limits hold for the given form and for the normalised one.
    """
    cdef uint8_t text[254]
    cdef str address = PyUnicode_FromObject(given)  # itself, unless its class only derives from str
    cdef Py_ssize_t size, n = 0
    cdef bytes labels, small
    cdef str local
    size = mg_utf8_of(address, text)
    if size < 1:
        return None
    labels = _labels_of(text, size, known, &n)
    # Not printable are exactly the categories C (controls, formats, unassigned) and Z (separators), except the space,
    # which the kernel refuses.
    if labels is None or not address.isprintable():
        return None
    local = PyUnicode_DecodeUTF8(<const char *>text, n, NULL)
    if not PyUnicode_IS_ASCII(local):
        if not is_normalized("NFC", local):
            return None
        # Lower case may grow, and decompose what has to be composed again: the limits are checked on the result.
        local = normalize("NFC", local.lower())
    else:
        local = local.lower()
    small = local.encode("utf-8")
    if not _good_at(<const uint8_t *>PyBytes_AS_STRING(small), len(small), labels, options):
        return None
    return (small + b"@" + labels).decode("utf-8")


cdef bint _open_good(const uint8_t *p, Py_ssize_t n, dict known, uint32_t options):
    """Is it certainly good? The verdict of address_accept, or False where that would need tables of Unicode."""
    cdef Py_ssize_t local = 0, i, grown
    cdef uint8_t wide = 0
    cdef bytes labels = _labels_of(p, n, known, &local)
    if labels is None:
        return False
    for i in range(local):
        wide |= p[i]
    if wide >= 0x80:
        grown = local + local // 2  # in lower case: two octets may become three
        if grown > 64 or grown + 1 + len(labels) > 254 or not mg_utf8_is_plain(p, local):
            return False
    return _good_at(p, local, labels, options)


def address_list_open(list addresses not None, dict known not None, uint32_t options, reasons):
    """Goes through the entries whose number is that of email.idn and marks the good ones; returns the places of the rest."""
    cdef Py_buffer view
    cdef uint8_t text[254]
    cdef Py_ssize_t n = len(addresses), i = -1, size
    cdef uint8_t *out = _address_out(reasons, &view, n)
    rest = []
    try:
        while True:
            i = _next_open(out, i + 1, n)
            if i == n:
                break
            address = addresses[i]
            if isinstance(address, str):
                size = mg_utf8_of(address, text)
                if size > 0 and _open_good(text, size, known, options):
                    out[i] = MG_R_ok
                    continue
            elif isinstance(address, bytes):
                if _open_good(<const uint8_t *>PyBytes_AS_STRING(address), PyBytes_GET_SIZE(address), known, options):
                    out[i] = MG_R_ok
                    continue
            rest.append(i)
    finally:
        PyBuffer_Release(&view)
    return rest


cdef Py_ssize_t _next_open(const uint8_t *reasons, Py_ssize_t i, Py_ssize_t n) noexcept:
    """The next place from i on that holds the number of email.idn, or n."""
    cdef const void *found = memchr(reasons + i, MG_R_email_idn, n - i)
    return <const uint8_t *>found - reasons if found != NULL else n
