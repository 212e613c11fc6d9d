/* Tags: one field, split, trimmed, without empties and duplicates, as a binary text[] (array_send's form: dimensions,
 * has-null flag, element type, then length and lower bound of the dimension, then the elements).
 *
 * Writes at most 3 bytes for each byte of the field, plus the plan's own tags, plus 26. */
#ifndef MG_ENCODE_TAGS_H
#define MG_ENCODE_TAGS_H

#include "encode.h"

#define ARRAY_HEAD 20u
/* length | one dimension | no NULLs | of type 25, text | its length | its lower bound, 1 */
static const uint8_t array_head[4 + ARRAY_HEAD] = {0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 25, 0, 0, 0, 0, 0, 0, 0, 1};

static uint32_t be32(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* Are these n bytes one of the elements in first..end? */
static int present(const uint8_t *first, const uint8_t *end, const uint8_t *p, uint32_t n) {
    while (first < end) {
        uint32_t m = be32(first);
        if (m == n && first[4] == p[0] && memcmp(first + 4, p, n) == 0) return 1;
        first += 4 + m;
    }
    return 0;
}

static uint32_t find(const uint8_t *p, uint32_t from, uint32_t n, uint8_t c) {
    for (uint32_t i = from; i < n; i += 16) {
        uint32_t m = equal16(p + i, c);
        if (m) {
            i += (uint32_t)__builtin_ctz(m);
            return i < n ? i : n;
        }
    }
    return n;
}

/* Where c stands in p[0..n), n up to 64. */
static uint64_t places(const uint8_t *p, uint32_t n, uint8_t c) {
    uint64_t m = equal16(p, c);
    if (unlikely(n > 16))
        for (uint32_t i = 16; i < n; i += 16) m |= (uint64_t)equal16(p + i, c) << i;
    return m & (UINT64_MAX >> (64 - n));
}

static uint8_t *put_one(uint8_t *o, value tag) {
    memcpy(o, array_head, sizeof array_head);
    put32(o, ARRAY_HEAD + 4 + tag.n);
    o[19] = 1;
    put32(o + sizeof array_head, tag.n);
    copy_short(o + sizeof array_head + 4, tag.p, tag.n);
    return o + sizeof array_head + 4 + tag.n;
}

static inline uint8_t *put_tags(encoder *e, view w, uint32_t column, uint8_t *o) {
    const mg_plan *plan = e->plan;
    value v = short_value(e, w, column);
    if (v.n == 0) return put_null(o);
    if (unlikely(e->nul)) {
        const uint8_t *nul = memchr(v.p, 0, v.n);
        if (nul) {
            refuse(e, column, MG_R_field_nul, v.lead + (uint32_t)(nul - v.p));
            return put_null(o);
        }
    }
    /* The separators of a field of usual length are found at once, as bits; those of a long one, one after the other. */
    int bits = v.n <= 64;
    uint64_t at = 0;
    uint8_t separator = plan->tag_separator;
    if (likely(bits)) {
        at = places(v.p, v.n, separator ? separator : ';');
        if (separator == 0 && at == 0 && (at = places(v.p, v.n, ',')) == 0) at = places(v.p, v.n, '|');
        if (at == 0 && plan->n_tags == 0 && v.n <= plan->max_chars[column]) return put_one(o, v);
    } else if (separator == 0) {
        separator = find(v.p, 0, v.n, ';') < v.n ? ';' : find(v.p, 0, v.n, ',') < v.n ? ',' : '|';
    }
    uint8_t *first = o + 4 + ARRAY_HEAD, *end = first;
    uint32_t tags = 0;
    for (uint32_t from = 0; from < v.n;) {
        uint32_t stop = likely(bits) ? (at ? (uint32_t)__builtin_ctzll(at) : v.n) : find(v.p, from, v.n, separator);
        at &= at - 1;
        value tag = trimmed(v.p + from, stop - from);
        uint32_t lead = v.lead + from + tag.lead;
        from = stop + 1;
        if (tag.n == 0 || present(first, end, tag.p, tag.n)) continue;
        if (unlikely(tags == MAX_TAGS)) {
            refuse(e, column, MG_R_field_too_long, lead);
            return put_null(o);
        }
        tag.lead = lead;
        if (unlikely(tag.n > plan->max_chars[column]) && mg_text_refused(e, column, tag)) return put_null(o);
        put32(end, tag.n);
        copy_short(end + 4, tag.p, tag.n);
        end += 4 + tag.n;
        tags++;
    }
    if (tags == 0) return put_null(o);
    const uint8_t *own_end = end, *t = plan->tags;
    for (uint32_t i = 0; i < plan->n_tags; i++) {
        uint32_t n = be32(t);
        if (!present(first, own_end, t + 4, n)) {
            memcpy(end, t, 4 + (size_t)n);
            end += 4 + n;
            tags++;
        }
        t += 4 + n;
    }
    memcpy(o, array_head, sizeof array_head);
    put32(o, (uint32_t)(end - o - 4));
    put32(o + 16, tags);
    return end;
}

#endif
