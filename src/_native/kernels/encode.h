/* encode.h: what the parts of the encoder share (encode.c, encode_body.h, encode_tags.h, encode_json.h). Not part of the
 * API.
 *
 * Invariants every part relies on:
 * - Around the record that is being encoded, PAD bytes behind any of its fields may be read (encode.c copies a record
 *   that stands too near the end of the batch), and PAD bytes behind the end of what is written may be overwritten
 *   (the reserve of a row includes them). That is what lets short values move as whole words.
 * - Room for the worst case of the whole record was reserved before the first byte of it is written: no part checks
 *   bounds again, and none may write more than encode_body.h's `worst` counts for it.
 */
#ifndef MG_ENCODE_H
#define MG_ENCODE_H

#include "mg.h"

#include <string.h>
#if defined(__SSE2__)
#include <immintrin.h>
#endif

#define PAD 64u
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define INLINED static inline __attribute__((always_inline))

/* More tags than this on one lead are refused: duplicates are found by comparing each with each. */
#define MAX_TAGS 1000u

typedef struct {
    uint32_t column;
    uint32_t off, len; /* the bytes ,"name":" in encoder.prefixes */
} attribute;

typedef struct {
    const mg_plan *plan;
    const attribute *attributes;
    const uint8_t *prefixes;
    const uint32_t *limits, *zeros; /* one for each column, see view */
    mg_field *padded; /* the fields of a record that was short, filled up */
    uint32_t n_attributes;
    int32_t column[MG_LEAD_FIELDS]; /* where each lead field comes from, -1: nowhere */
    /* the record at hand */
    const uint8_t *base;
    const mg_field *fields; /* one for each column of the plan at least */
    uint8_t *text; /* room for the longest field, unescaped, and PAD */
    uint32_t room; /* for records of this length */
    int nul;       /* the record holds a NUL somewhere */
    mg_reason reason;
    uint32_t where, at; /* column and offset of the problem */
} encoder;

/* A field as the file means it: without quotes, doubled quotes halved, outer blanks trimmed. */
typedef struct {
    const uint8_t *p;
    uint32_t n;
    uint32_t lead; /* blanks trimmed at the front, so that positions count from the field's first byte */
} value;

/* ---- encode.c: what is done once a batch, or seldom ---- */
mg_status mg_encode_prepare(encoder *e, const mg_plan *plan, mg_records *out);
size_t mg_encode_fixed_cost(const mg_plan *plan);
mg_status mg_encode_settle(encoder *e, const mg_batch *batch, const mg_row *row, size_t end, mg_records *out);
int mg_encode_count_ok(encoder *e, const mg_row *row);
int mg_encode_bytes_ok(encoder *e, const mg_row *row);
mg_status mg_encode_refused(encoder *e, mg_records *out, uint32_t i);
mg_status mg_encode_unreadable(encoder *e, mg_records *out, uint32_t i, const mg_row *row);
value mg_escaped_value(encoder *e, uint32_t column);
/* Is this text storable in this column? Records the problem if not. Called only when it may not be. */
int mg_text_refused(encoder *e, uint32_t column, value v);

/* ---- encode_body.h: mg_encode and mg_encode_row for one instruction set ---- */
#define MG_ENCODE_DECLARE(isa)                                                                                         \
    mg_status mg_encode_##isa(const mg_plan *plan, const mg_batch *batch, mg_records *out);                            \
    mg_status mg_encode_row_##isa(const mg_plan *plan, const mg_batch *batch, uint32_t row, const uint8_t *email,      \
                                  uint32_t email_len, mg_records *out);
MG_ENCODE_DECLARE(scalar)
#if defined(__x86_64__)
MG_ENCODE_DECLARE(sse42)
MG_ENCODE_DECLARE(avx2)
MG_ENCODE_DECLARE(avx512)
#elif defined(__aarch64__)
MG_ENCODE_DECLARE(neon)
#endif

static inline void put32(uint8_t *o, uint32_t v) {
    v = __builtin_bswap32(v);
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    v = __builtin_bswap32(v);
#endif
    memcpy(o, &v, 4);
}

static inline void put64(uint8_t *o, uint64_t v) {
    put32(o, (uint32_t)(v >> 32));
    put32(o + 4, (uint32_t)v);
}

static inline uint8_t *put_null(uint8_t *o) {
    memset(o, 0xff, 4);
    return o + 4;
}

/* The word in which short values move and are searched. */
#if defined(MG_SIMD_WIDE)
#define WORD 32u
typedef __m256i word;
static inline word load_word(const uint8_t *p) { return _mm256_loadu_si256((const __m256i *)p); }
static inline void copy_word(uint8_t *o, const uint8_t *p) { _mm256_storeu_si256((__m256i *)o, load_word(p)); }
/* Bit i of the answer: p[i] is c. Reads a word. */
static inline uint32_t equal_word(const uint8_t *p, uint8_t c) {
    return (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(load_word(p), _mm256_set1_epi8((char)c)));
}
/* Bit i: p[i] must be escaped in a JSON string. Reads a word. */
static inline uint32_t json_special(const uint8_t *p) {
    __m256i v = load_word(p), low = _mm256_set1_epi8(0x1f);
    __m256i m = _mm256_or_si256(_mm256_cmpeq_epi8(v, _mm256_set1_epi8('"')), _mm256_cmpeq_epi8(v, _mm256_set1_epi8('\\')));
    return (uint32_t)_mm256_movemask_epi8(_mm256_or_si256(m, _mm256_cmpeq_epi8(_mm256_max_epu8(v, low), low)));
}
#else
#define WORD 16u
static inline void copy_word(uint8_t *o, const uint8_t *p) { memcpy(o, p, 16); }
static inline uint32_t equal_word(const uint8_t *p, uint8_t c) {
#if defined(__SSE2__)
    __m128i v = _mm_loadu_si128((const __m128i *)p);
    return (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(v, _mm_set1_epi8((char)c)));
#else
    uint32_t m = 0;
    for (unsigned i = 0; i < 16; i++) m |= (uint32_t)(p[i] == c) << i;
    return m;
#endif
}
static inline uint32_t json_special(const uint8_t *p) {
#if defined(__SSE2__)
    __m128i v = _mm_loadu_si128((const __m128i *)p), low = _mm_set1_epi8(0x1f);
    __m128i m = _mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8('"')), _mm_cmpeq_epi8(v, _mm_set1_epi8('\\')));
    return (uint32_t)_mm_movemask_epi8(_mm_or_si128(m, _mm_cmpeq_epi8(_mm_max_epu8(v, low), low)));
#else
    uint32_t m = 0;
    for (unsigned i = 0; i < 16; i++) m |= (uint32_t)(p[i] < 0x20 || p[i] == '"' || p[i] == '\\') << i;
    return m;
#endif
}
#endif

/* Copies n bytes; reads and writes up to 32 bytes more (see PAD). 32 whatever the length: most fields are shorter, and a
 * branch on each length that comes along is mispredicted more often than it saves a move. */
static inline void copy_short(uint8_t *o, const uint8_t *p, size_t n) {
    for (unsigned i = 0; i < 32; i += WORD) copy_word(o + i, p + i);
    if (unlikely(n > 32)) memcpy(o + 32, p + 32, n - 32);
}

/* The problem with the lowest column is the one reported. */
static inline void refuse(encoder *e, uint32_t column, mg_reason reason, uint32_t at) {
    if (e->reason == MG_R_ok || column < e->where) {
        e->reason = reason;
        e->where = column;
        e->at = at;
    }
}

static inline int is_blank(uint8_t c) { return c == ' ' || c == '\t'; }

static inline value trimmed(const uint8_t *p, uint32_t n) {
    value v = {p, n, 0};
    if (unlikely(is_blank(p[0]) || is_blank(p[n - (n > 0)]))) {
        while (v.n && is_blank(v.p[v.n - 1])) v.n--;
        while (v.n && is_blank(*v.p)) v.p++, v.n--, v.lead++;
    }
    return v;
}

static inline value field_value(encoder *e, uint32_t column) {
    mg_field f = e->fields[column];
    if (unlikely(f.len & MG_FIELD_ESCAPED)) return mg_escaped_value(e, column);
    return trimmed(e->base + f.off, f.len & MG_FIELD_LEN);
}

/* The record at hand again, by value: what is written through a byte pointer may change any struct behind a pointer, as far
 * as the compiler knows, and reading all this anew for each field cost a third of the time. */
typedef struct {
    const uint8_t *base;
    const mg_field *fields;
    const uint32_t *limits; /* max_chars, below 2^31; zeros where every text must be looked at */
} view;

/* Most fields need nothing done: no quotes (so no blanks at the ends, see mg_plan.untrimmed), not too long. What says
 * otherwise is gathered in one sign bit, so that one branch finds out. */
static inline int is_plain(view w, uint32_t column, const uint8_t **p, uint32_t *n) {
    mg_field f = w.fields[column];
    *p = w.base + f.off;
    *n = f.len & MG_FIELD_LEN;
    return likely((int32_t)((w.limits[column] - *n) | f.len) >= 0);
}

static inline value short_value(encoder *e, view w, uint32_t column) {
    value v = {NULL, 0, 0};
    if (unlikely(!is_plain(w, column, &v.p, &v.n))) v = field_value(e, column);
    return v;
}

static inline int text_ok(encoder *e, uint32_t column, value v) {
    if (likely(v.n <= e->plan->max_chars[column] && !e->nul)) return 1;
    return !mg_text_refused(e, column, v);
}

#endif
