/* Tags: one field, split, trimmed, without empties and duplicates, as a binary text[] (array_send's form: dimensions,
 * has-null flag, element type, then length and lower bound of the dimension, then the elements).
 *
 * Writes at most 3 bytes for each byte of the field, plus the plan's own tags, plus 26. */
#ifndef MG_ENCODE_TAGS_H
#define MG_ENCODE_TAGS_H

#include "encode.h"

/* A list has few different fields of tags, and the same ones come again and again without a pattern that a processor could
 * foresee. So what became of a short one is kept for the rest of the batch, by its bytes. Slot 0 is that of empty fields. */
#define MEMO_SLOTS 64u
#define MEMO_KEY 32u
#define MEMO_OUT 88u
typedef struct {
    uint64_t key[MEMO_KEY / 8]; /* the field's bytes, zeros behind them */
    uint32_t n, len;            /* of the field, of what it became; n is beyond MEMO_KEY where there is nothing yet */
    uint8_t out[MEMO_OUT];
} tags_memo;

static inline void memo_init(tags_memo *memo) {
    for (uint32_t i = 0; i <= MEMO_SLOTS; i++) memo[i].n = UINT32_MAX;
    memo[0].n = 0;
    memo[0].len = 4;
    memset(memo[0].key, 0, sizeof memo[0].key);
    memset(memo[0].out, 0xff, sizeof memo[0].out);
}

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
    for (uint32_t i = from; i < n; i += WORD) {
        uint32_t m = equal_word(p + i, c);
        if (m) {
            i += (uint32_t)__builtin_ctz(m);
            return i < n ? i : n;
        }
    }
    return n;
}

/* Where c stands in p[0..n), n up to 64. */
static uint64_t places(const uint8_t *p, uint32_t n, uint8_t c) {
    uint64_t m = equal_word(p, c);
    if (unlikely(n > WORD))
        for (uint32_t i = WORD; i < n; i += WORD) m |= (uint64_t)equal_word(p + i, c) << i;
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

static __attribute__((noinline)) uint8_t *split_tags(encoder *e, view w, uint32_t column, uint8_t *o) {
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

/* The word of the field's bytes from `from` on, zeros behind its end. */
static inline uint64_t memo_word(const uint8_t *p, uint32_t n, unsigned from) {
    static const uint8_t ones[2 * MEMO_KEY] = {
        255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
        255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255};
    uint64_t bytes, mask;
    memcpy(&bytes, p + from, 8);
    memcpy(&mask, ones + MEMO_KEY - n + from, 8);
    return bytes & mask;
}

static inline uint64_t memo_turn(uint64_t x) { return x << 21 | x >> 43; }

INLINED uint8_t *put_tags(encoder *e, view w, tags_memo *memo, uint32_t column, uint8_t *o) {
    const uint8_t *p;
    uint32_t n;
    if (unlikely(!is_plain(w, column, &p, &n) || n > MEMO_KEY || !memo)) return split_tags(e, w, column, o);
    /* four variables: an array would be written by words and read as a vector, which waits for the writes to be done */
    uint64_t k0 = memo_word(p, n, 0), k1 = memo_word(p, n, 8), k2 = memo_word(p, n, 16), k3 = memo_word(p, n, 24);
    uint64_t mix = memo_turn(memo_turn(memo_turn(k3) ^ k2) ^ k1) ^ k0 ^ n;
    tags_memo *slot = memo + (((mix * UINT64_C(0x9e3779b97f4a7c15) >> 58) + 1) & (0 - (uint64_t)(n != 0)));
    uint64_t differs = (slot->n ^ n) | (slot->key[0] ^ k0) | (slot->key[1] ^ k1) | (slot->key[2] ^ k2);
    differs |= slot->key[3] ^ k3;
    if (unlikely(differs)) {
        uint8_t *end = split_tags(e, w, column, o);
        uint32_t len = (uint32_t)(end - o);
        if (len > MEMO_OUT) return end;
        slot->key[0] = k0, slot->key[1] = k1, slot->key[2] = k2, slot->key[3] = k3;
        memcpy(slot->out, o, len);
        slot->n = n;
        slot->len = len;
        return end;
    }
    for (unsigned i = 0; i < 64; i += WORD) copy_word(o + i, slot->out + i);
    if (unlikely(slot->len > 64)) memcpy(o + 64, slot->out + 64, MEMO_OUT - 64);
    return o + slot->len;
}

#endif
