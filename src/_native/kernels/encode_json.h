/* Attributes: the columns that are no lead field become one JSON object, in jsonb's binary form (version byte 1, then
 * the text). RFC 8259 section 7: quote, backslash and U+0000..U+001F are escaped, everything else stands as it is; the
 * record is valid UTF-8 by then. PostgreSQL's jsonb has no U+0000, so text_ok has refused that already.
 *
 * Writes at most 6 bytes for each byte of a value, plus the prefixes, plus 7. */
#ifndef MG_ENCODE_JSON_H
#define MG_ENCODE_JSON_H

#include "encode.h"

static uint8_t *escape(uint8_t *o, const uint8_t *p, uint32_t n) {
    static const char hex[16] = {'0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'};
    for (uint32_t i = 0; i < n; i++) {
        uint8_t c = p[i];
        if (likely(c >= 0x20 && c != '"' && c != '\\')) {
            *o++ = c;
            continue;
        }
        *o++ = '\\';
        switch (c) {
        case '"': *o++ = '"'; break;
        case '\\': *o++ = '\\'; break;
        case '\n': *o++ = 'n'; break;
        case '\r': *o++ = 'r'; break;
        case '\t': *o++ = 't'; break;
        case '\b': *o++ = 'b'; break;
        case '\f': *o++ = 'f'; break;
        default:
            memcpy(o, "u00", 3);
            o[3] = (uint8_t)hex[c >> 4];
            o[4] = (uint8_t)hex[c & 15];
            o += 5;
        }
    }
    return o;
}

/* Words are copied as they are until one holds something to escape; the rest goes byte by byte. */
static inline uint8_t *put_value(uint8_t *o, const uint8_t *p, uint32_t n) {
    for (;;) {
        uint32_t special = json_special(p);
        copy_word(o, p);
        if (n <= WORD) {
            if (likely((special & (uint32_t)(((uint64_t)1 << n) - 1)) == 0)) return o + n;
            return escape(o, p, n);
        }
        if (unlikely(special)) {
            o = escape(o, p, WORD);
            p += WORD, n -= WORD;
            continue;
        }
        o += WORD, p += WORD, n -= WORD;
    }
}

INLINED uint8_t *put_attributes(encoder *e, view w, uint8_t *o) {
    uint8_t *start = o;
    const attribute *a = e->attributes, *end = a + e->n_attributes;
    const uint8_t *prefixes = e->prefixes;
    o += 5;
    for (; a < end; a++) {
        const uint8_t *p;
        uint32_t n;
        if (unlikely(!is_plain(w, a->column, &p, &n))) {
            value v = field_value(e, a->column);
            if (!text_ok(e, a->column, v)) continue;
            p = v.p, n = v.n;
        }
        if (n == 0) continue;
        copy_short(o, prefixes + a->off, a->len);
        o = put_value(o + a->len, p, n);
        *o++ = '"';
    }
    if (o == start + 5) return put_null(start);
    start[4] = 1;
    start[5] = '{'; /* over the comma before the first name */
    *o++ = '}';
    put32(start, (uint32_t)(o - start - 4));
    return o;
}

#endif
