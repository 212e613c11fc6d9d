/* RESP2 and RESP3, as servers send them: one element at a time.
 *
 * An element is a value, or the head of an aggregate whose elements follow; who calls keeps the nesting. Nothing is
 * remembered between two calls: an element that is not whole yet is read anew when more of it is there, which costs its head
 * alone. Whatever the grammar does not allow is MG_CORRUPT, so that a damaged length is found where it ends and not handed out.
 * Streamed strings and aggregates ("$?", "*?") are in no server and not read.
 *
 * Source: the RESP specification (https://redis.io/docs/latest/develop/reference/protocol-spec/, and RESP3's).
 */
#include <string.h>

#include "mg.h"

#define NUMBER 24 /* bytes of the longest integer, its sign and the end of its line, and some */

static mg_status corrupt(mg_resp *out, const char *why) {
    out->why = why;
    return MG_CORRUPT;
}

/* -?(0|[1-9][0-9]*)\r\n in 64 bits; *used is what it takes. */
static mg_status integer(const uint8_t *p, size_t n, int64_t *value, size_t *used) {
    size_t i = n && p[0] == '-', first = i, most = n < NUMBER ? n : NUMBER;
    uint64_t v = 0;
    for (; i < most && (uint8_t)(p[i] - '0') < 10; i++) {
        if (i > first && p[first] == '0') return MG_CORRUPT;
        if (__builtin_mul_overflow(v, (uint64_t)10, &v) || __builtin_add_overflow(v, (uint64_t)(p[i] - '0'), &v))
            return MG_CORRUPT;
    }
    if (i == n) return MG_NEED_MORE;
    if (i == first || i == NUMBER || p[i] != '\r') return MG_CORRUPT;
    if (v > (uint64_t)INT64_MAX + (first ? 1 : 0) || (first && v == 0)) return MG_CORRUPT;
    if (i + 1 == n) return MG_NEED_MORE;
    if (p[i + 1] != '\n') return MG_CORRUPT;
    *value = first ? (int64_t)(0 - v) : (int64_t)v;
    *used = i + 2;
    return MG_OK;
}

/* Up to \r\n, with neither of the two in it. */
static mg_status line(const uint8_t *p, size_t n, size_t *len) {
    size_t most = n < MG_RESP_LINE ? n : MG_RESP_LINE;
    const uint8_t *end = most ? memchr(p, '\r', most) : NULL;
    size_t held = end ? (size_t)(end - p) : most;
    if (held && memchr(p, '\n', held)) return MG_CORRUPT;
    if (!end) return n < MG_RESP_LINE ? MG_NEED_MORE : MG_CORRUPT;
    if (held + 1 == n) return MG_NEED_MORE;
    if (end[1] != '\n') return MG_CORRUPT;
    *len = held;
    return MG_OK;
}

static size_t digits(const uint8_t *p, size_t n) {
    size_t i = 0;
    while (i < n && (uint8_t)(p[i] - '0') < 10) i++;
    return i;
}

/* [+-]? and then digits, a fraction, an exponent; or inf; or nan. */
static int is_double(const uint8_t *p, size_t n) {
    size_t whole, fraction = 0;
    if (n && (p[0] == '-' || p[0] == '+')) p++, n--;
    if (n == 3 && (memcmp(p, "inf", 3) == 0 || memcmp(p, "nan", 3) == 0)) return 1;
    whole = digits(p, n);
    p += whole, n -= whole;
    if (n && p[0] == '.') {
        fraction = digits(p + 1, n - 1);
        p += 1 + fraction, n -= 1 + fraction;
    }
    if (!whole && !fraction) return 0;
    if (n && (p[0] == 'e' || p[0] == 'E')) {
        size_t sign = n > 1 && (p[1] == '-' || p[1] == '+'), of = digits(p + 1 + sign, n - 1 - sign);
        if (!of) return 0;
        p += 1 + sign + of, n -= 1 + sign + of;
    }
    return n == 0;
}

static int is_big(const uint8_t *p, size_t n) {
    if (n && (p[0] == '-' || p[0] == '+')) p++, n--;
    return n && n <= MG_RESP_BIG && digits(p, n) == n;
}

/* $ = and !: a length, that many bytes, \r\n. */
static mg_status blob(const uint8_t *p, size_t n, int may_be_null, mg_resp *out, size_t *used) {
    int64_t len = 0;
    size_t head = 0;
    mg_status status = integer(p + 1, n - 1, &len, &head);
    if (status == MG_NEED_MORE) return status;
    if (status != MG_OK) return corrupt(out, "a length that is no number");
    head++;
    if (len == -1 && may_be_null) {
        out->kind = MG_RESP_NULL;
        *used = head;
        return MG_OK;
    }
    if (len < 0 || len > MG_RESP_BYTES) return corrupt(out, "a length that is out of range");
    if (n - head < (size_t)len + 2) {
        /* A byte of the end that is there already may show it. */
        if (n - head == (size_t)len + 1 && p[n - 1] != '\r') return corrupt(out, "a string that does not end where it should");
        *used = head + (size_t)len + 2;
        return MG_NEED_MORE;
    }
    if (p[head + (size_t)len] != '\r' || p[head + (size_t)len + 1] != '\n')
        return corrupt(out, "a string that does not end where it should");
    out->at = p + head;
    out->len = (size_t)len;
    *used = head + (size_t)len + 2;
    return MG_OK;
}

static mg_status aggregate(const uint8_t *p, size_t n, int may_be_null, mg_resp *out, size_t *used) {
    int64_t count = 0;
    size_t head = 0;
    mg_status status = integer(p + 1, n - 1, &count, &head);
    if (status == MG_NEED_MORE) return status;
    if (status != MG_OK) return corrupt(out, "a count that is no number");
    *used = head + 1;
    if (count == -1 && may_be_null) {
        out->kind = MG_RESP_NULL;
        return MG_OK;
    }
    if (count < 0 || count > MG_RESP_ELEMENTS) return corrupt(out, "a count that is out of range");
    out->number = count;
    return MG_OK;
}

static mg_status text(const uint8_t *p, size_t n, mg_resp *out, size_t *used) {
    mg_status status = line(p + 1, n - 1, &out->len);
    if (status == MG_NEED_MORE) return status;
    if (status != MG_OK) return corrupt(out, "a line that does not end as it should");
    out->at = p + 1;
    *used = out->len + 3;
    return MG_OK;
}

mg_status mg_resp_next(const uint8_t *p, size_t n, mg_resp *out, size_t *used) {
    mg_status status;
    *used = 0;
    if (!n) return MG_NEED_MORE;
    switch (p[0]) {
    case '$':
        out->kind = MG_RESP_STRING;
        return blob(p, n, 1, out, used);
    case '+':
        out->kind = MG_RESP_STRING;
        return text(p, n, out, used);
    case '-':
        out->kind = MG_RESP_ERROR;
        return text(p, n, out, used);
    case '!':
        out->kind = MG_RESP_ERROR;
        return blob(p, n, 0, out, used);
    case '=':
        out->kind = MG_RESP_STRING;
        status = blob(p, n, 0, out, used);
        if (status != MG_OK) return status;
        if (out->len < 4 || out->at[3] != ':') return corrupt(out, "a verbatim string without its kind");
        out->at += 4;
        out->len -= 4;
        return MG_OK;
    case ':': {
        size_t held = 0;
        out->kind = MG_RESP_INTEGER;
        status = integer(p + 1, n - 1, &out->number, &held);
        if (status == MG_CORRUPT) return corrupt(out, "an integer that is none");
        if (status == MG_OK) *used = held + 1;
        return status;
    }
    case '(':
        out->kind = MG_RESP_STRING;
        status = text(p, n, out, used);
        if (status != MG_OK) return status;
        return is_big(out->at, out->len) ? MG_OK : corrupt(out, "a big number that is none");
    case ',':
        out->kind = MG_RESP_DOUBLE;
        status = text(p, n, out, used);
        if (status != MG_OK) return status;
        return out->len <= MG_RESP_FLOAT && is_double(out->at, out->len) ? MG_OK : corrupt(out, "a double that is none");
    case '_':
        out->kind = MG_RESP_NULL;
        status = text(p, n, out, used);
        if (status != MG_OK) return status;
        return out->len ? corrupt(out, "a null that is none") : MG_OK;
    case '#':
        status = text(p, n, out, used);
        if (status != MG_OK) return status;
        if (out->len != 1 || (out->at[0] != 't' && out->at[0] != 'f')) return corrupt(out, "a boolean that is none");
        out->kind = out->at[0] == 't' ? MG_RESP_TRUE : MG_RESP_FALSE;
        return MG_OK;
    case '*':
        out->kind = MG_RESP_ARRAY;
        return aggregate(p, n, 1, out, used);
    case '~':
        out->kind = MG_RESP_ARRAY;
        return aggregate(p, n, 0, out, used);
    case '%':
        out->kind = MG_RESP_MAP;
        return aggregate(p, n, 0, out, used);
    case '|':
        out->kind = MG_RESP_ATTRIBUTE;
        return aggregate(p, n, 0, out, used);
    case '>':
        out->kind = MG_RESP_PUSH;
        return aggregate(p, n, 0, out, used);
    default:
        return corrupt(out, "a type that there is not");
    }
}
