/* Tags: one field, split, trimmed, without empties and duplicates, as a binary text[] (array_send's form: dimensions,
 * has-null flag, element type, then length and lower bound of the dimension, then the elements).
 *
 * Writes at most 3 bytes for each byte of the field, plus the plan's own tags, plus 26. */
#include "encode.h"

#define TEXT_OID 25u
#define ARRAY_HEAD 20u

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

/* The first of ; , | that occurs. */
static uint8_t separator_of(value v) {
    if (v.n <= 16) {
        uint32_t all = (1u << v.n) - 1;
        return equal16(v.p, ';') & all ? ';' : equal16(v.p, ',') & all ? ',' : '|';
    }
    return find(v.p, 0, v.n, ';') < v.n ? ';' : find(v.p, 0, v.n, ',') < v.n ? ',' : '|';
}

uint8_t *mg_put_tags(encoder *e, int32_t column, uint8_t *o) {
    const mg_plan *plan = e->plan;
    value v = field_value(e, (uint32_t)column);
    if (v.n == 0) return put_null(o);
    if (unlikely(e->nul)) {
        const uint8_t *nul = memchr(v.p, 0, v.n);
        if (nul) {
            refuse(e, (uint32_t)column, MG_R_field_nul, v.lead + (uint32_t)(nul - v.p));
            return put_null(o);
        }
    }
    uint8_t separator = plan->tag_separator ? plan->tag_separator : separator_of(v);
    uint8_t *first = o + 4 + ARRAY_HEAD, *end = first;
    uint32_t tags = 0;
    for (uint32_t from = 0; from < v.n;) {
        uint32_t stop = find(v.p, from, v.n, separator);
        value tag = trimmed(v.p + from, stop - from);
        uint32_t lead = v.lead + from + tag.lead;
        from = stop + 1;
        if (tag.n == 0 || present(first, end, tag.p, tag.n)) continue;
        if (unlikely(tags == MAX_TAGS)) {
            refuse(e, (uint32_t)column, MG_R_field_too_long, lead);
            return put_null(o);
        }
        tag.lead = lead;
        if (unlikely(tag.n > plan->max_chars[column]) && mg_text_refused(e, (uint32_t)column, tag)) return put_null(o);
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
    put32(o, (uint32_t)(end - o - 4));
    put32(o + 4, 1);
    put32(o + 8, 0);
    put32(o + 12, TEXT_OID);
    put32(o + 16, tags);
    put32(o + 20, 1);
    return end;
}
