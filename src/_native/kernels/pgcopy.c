/* pgcopy.c: PostgreSQL's binary formats: text[] parameters and COPY tuples (PostgreSQL manual, "COPY", "File Formats";
 * arrays as array_recv reads them).
 *
 * Records already hold their fields as COPY sends them, so a tuple is a count, the constant columns, and whole stretches
 * of the record; only a NULL that has a default, or a field that is not sent, breaks a stretch.
 * Invariant: what is appended to `out` is whole tuples; on any failure its length is as it was.
 * Fields are checked here, where they are first walked: a record that does not hold exactly its fields is MG_CORRUPT. */
#include "record.h"

static inline void put32(uint8_t *p, uint32_t v) {
    v = MG_BE32(v);
    memcpy(p, &v, 4);
}

mg_status mg_pg_keys(const mg_chunk *c, const uint8_t *mask, uint8_t want, mg_buf *out) {
    size_t n = 0, bytes = 20;
    for (size_t i = 0; i < c->n; i++)
        if (!mask || mask[i] == want) {
            n++;
            bytes += 4 + (size_t)mg_record_key_len(c->data.data + c->off[i]);
        }
    if (n > INT32_MAX) return MG_FULL;
    mg_status st = mg_buf_reserve(out, bytes);
    if (st != MG_OK) return st;
    uint8_t *p = out->data + out->len;
    put32(p, n ? 1 : 0); /* dimensions; an empty array has none */
    put32(p + 4, 0);     /* no NULLs */
    put32(p + 8, 25);    /* text */
    p += 12;
    if (n) {
        put32(p, (uint32_t)n);
        put32(p + 4, 1); /* lower bound */
        p += 8;
    }
    for (size_t i = 0; i < c->n; i++)
        if (!mask || mask[i] == want) {
            const uint8_t *r = c->data.data + c->off[i];
            size_t len = 4 + (size_t)mg_record_key_len(r);
            memcpy(p, r + 12, len); /* its length is in network order already */
            p += len;
        }
    out->len = (size_t)(p - out->data);
    return MG_OK;
}

/* The first record from `from` on whose key is not below key[0..n): steps that double, then halves. */
static size_t not_below(const mg_chunk *c, size_t from, const uint8_t *key, size_t n, int *same) {
    size_t lo = from, hi = c->n, step = 1; /* records before lo are below; hi is not, or the end */
    *same = 0;
    for (size_t at = from; lo < hi;) {
        const uint8_t *r = c->data.data + c->off[at];
        size_t len = mg_record_key_len(r), least = len < n ? len : n;
        int order = least ? memcmp(r + 16, key, least) : 0;
        if (order == 0) order = (len > n) - (len < n);
        if (order == 0) {
            *same = 1;
            return at;
        }
        if (order < 0)
            lo = at + 1;
        else
            hi = at;
        at = hi == c->n && step < hi - lo ? lo + step : lo + (hi - lo) / 2;
        step *= 2;
    }
    return lo;
}

mg_status mg_pg_mark(const mg_chunk *c, const uint8_t *p, size_t n, uint8_t value, uint8_t *mask) {
    if (n < 12 || MG_BE32(mg_load32(p + 4)) != 0) return MG_CORRUPT;
    uint32_t dimensions = MG_BE32(mg_load32(p));
    if (dimensions == 0) return n == 12 ? MG_OK : MG_CORRUPT;
    if (dimensions != 1 || n < 20) return MG_CORRUPT;
    size_t left = MG_BE32(mg_load32(p + 12)), at = 20, next = 0, last = 0;
    for (; left; left--) {
        if (n - at < 4) return MG_CORRUPT;
        size_t len = MG_BE32(mg_load32(p + at)), least = len < last ? len : last;
        const uint8_t *key = p + at + 4;
        if (len > n - at - 4) return MG_CORRUPT; /* NULL (-1) is */
        /* `next` is not below the key before this one: of use only if this one is above that. */
        int order = least ? memcmp(key, key - 4 - last, least) : 0;
        if (order < 0 || (order == 0 && len < last)) next = 0;
        int same;
        next = not_below(c, next, key, len, &same);
        if (same) mask[next] = value;
        last = len;
        at += 4 + len;
    }
    return at == n ? MG_OK : MG_CORRUPT;
}

typedef struct {
    uint32_t fields;
    const uint8_t *head;
    size_t head_len;
    uint16_t count; /* of columns, the constant ones included */
    const uint8_t *defaults;
    const uint32_t *default_off;
    uint8_t kept[MG_LEAD_FIELDS]; /* is it sent as it stands? bit 0: a value, bit 1: a NULL */
} tuple_form;

/* Appends one tuple; out has room for the record, the head and all defaults. */
static inline int put_tuple(const tuple_form *f, const uint8_t *r, mg_buf *out) {
    const uint8_t *at = r + 12, *end = r + mg_record_size(r), *from = at;
    uint8_t *p = out->data + out->len;
    p[0] = (uint8_t)(f->count >> 8);
    p[1] = (uint8_t)f->count;
    p += 2;
    if (f->head_len) memcpy(p, f->head, f->head_len);
    p += f->head_len;
    for (unsigned i = 0; i < MG_LEAD_FIELDS; i++) {
        if (end - at < 4) return 0;
        const uint8_t *field = at;
        uint32_t len = MG_BE32(mg_load32(at));
        unsigned null = len == UINT32_MAX;
        size_t step = null ? 0 : len;
        at += 4;
        if (MG_UNLIKELY(step > (size_t)(end - at))) return 0;
        at += step;
        unsigned kept = f->kept[i] >> null & 1; /* whether it is NULL is as good as random: no branch for it */
        if (MG_LIKELY(kept)) continue;
        memcpy(p, from, (size_t)(field - from)); /* the stretch up to here */
        p += field - from;
        from = at;
        if (f->fields >> i & 1) {
            uint32_t fill = f->default_off[i + 1] - f->default_off[i];
            memcpy(p, f->defaults + f->default_off[i], fill);
            p += fill;
        }
    }
    if (at != end) return 0;
    memcpy(p, from, (size_t)(end - from));
    p += end - from;
    out->len = (size_t)(p - out->data);
    return 1;
}

mg_status mg_pg_copy(const mg_chunk *c, const uint8_t *mask, uint8_t want, uint32_t fields, const uint8_t *head,
                     size_t head_len, uint16_t head_fields, const uint8_t *defaults, const uint32_t *default_off,
                     size_t max_bytes, size_t *next, mg_buf *out) {
    tuple_form f = {fields, head, head_len, head_fields, defaults, default_off, {0}};
    for (unsigned j = 0; j < MG_LEAD_FIELDS; j++) {
        if (!(fields >> j & 1)) continue;
        f.count++;
        f.kept[j] = default_off && default_off[j + 1] > default_off[j] ? 1 : 3;
    }
    size_t begin = out->len, more = 2 + head_len, i = *next;
    if (default_off) more += default_off[MG_LEAD_FIELDS] - default_off[0];
    for (; i < c->n; i++) {
        if (mask && mask[i] != want) continue;
        const uint8_t *r = c->data.data + c->off[i];
        size_t room = more + mg_record_size(r);
        if (out->len > begin && (out->len - begin >= max_bytes || room > max_bytes - (out->len - begin))) {
            *next = i;
            return MG_FULL;
        }
        mg_status st = mg_buf_reserve(out, room);
        if (st == MG_OK && !put_tuple(&f, r, out)) st = MG_CORRUPT;
        if (st != MG_OK) {
            out->len = begin;
            return st;
        }
    }
    *next = i;
    return MG_DONE;
}
