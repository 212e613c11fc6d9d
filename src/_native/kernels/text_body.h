/* text_body.h: UTF-8 validation by table look-up, once per instruction set. Included behind a simd header.
 *
 * Each byte is judged with the three before it. Three tables of 16, asked with the high and the low half of the byte
 * before and with the high half of the byte itself, each name the faults that half would allow; what all three name is a
 * fault. Whether a third and fourth byte are due is decided by the bytes two and three back. The method is that of
 * Keiser and Lemire, "Validating UTF-8 In Less Than One Instruction Per Byte" (2021). The faults are those of RFC 3629:
 * stray or missing continuation bytes, overlong forms, surrogates, values above U+10FFFF.
 */
#include "text_run.h"

#define MG_JOIN2(a, b) a##b
#define MG_JOIN(a, b) MG_JOIN2(a, b)

enum {
    SHORT = 1,      /* a lead byte without its continuation */
    STRAY = 2,      /* a continuation behind ASCII */
    OVER3 = 4,      /* E0 80..9F */
    LARGE = 8,      /* F4 90..BF, F5.. */
    SURROGATE = 16, /* ED A0..BF */
    OVER2 = 32,     /* C0, C1 */
    OVER4 = 64,     /* F0 80..8F; F5.. 80..8F share the bit */
    TWO = 128,      /* two continuations in a row: right if a lead of three or four bytes stands before them */
    ANY_LOW = SHORT | STRAY | TWO
};
static const uint8_t before_high[16] = {
    STRAY, STRAY, STRAY, STRAY, STRAY, STRAY, STRAY, STRAY, TWO, TWO, TWO, TWO,
    SHORT | OVER2, SHORT, SHORT | OVER3 | SURROGATE, SHORT | LARGE | OVER4};
static const uint8_t before_low[16] = {
    ANY_LOW | OVER2 | OVER3 | OVER4, ANY_LOW | OVER2, ANY_LOW, ANY_LOW, ANY_LOW | LARGE,
    ANY_LOW | LARGE | OVER4, ANY_LOW | LARGE | OVER4, ANY_LOW | LARGE | OVER4, ANY_LOW | LARGE | OVER4,
    ANY_LOW | LARGE | OVER4, ANY_LOW | LARGE | OVER4, ANY_LOW | LARGE | OVER4, ANY_LOW | LARGE | OVER4,
    ANY_LOW | LARGE | OVER4 | SURROGATE, ANY_LOW | LARGE | OVER4, ANY_LOW | LARGE | OVER4};
static const uint8_t itself_high[16] = {
    SHORT, SHORT, SHORT, SHORT, SHORT, SHORT, SHORT, SHORT,
    STRAY | TWO | OVER2 | OVER3 | OVER4, STRAY | TWO | OVER2 | OVER3 | LARGE,
    STRAY | TWO | OVER2 | SURROGATE | LARGE, STRAY | TWO | OVER2 | SURROGATE | LARGE, SHORT, SHORT, SHORT, SHORT};

static inline mg_vec faults(const uint8_t *p) {
    mg_vec now = vec_load(p), before = vec_load(p - 1);
    mg_vec named = vec_and(vec_and(vec_look(vec_table(before_high), vec_high(before)),
                                   vec_look(vec_table(before_low), vec_and(before, vec_set(15)))),
                           vec_look(vec_table(itself_high), vec_high(now)));
    /* >= E0 two back or >= F0 three back, as bit 7: there TWO must be named, elsewhere it must not */
    mg_vec due = vec_or(vec_minus(vec_load(p - 2), vec_set(0xe0 - 0x80)), vec_minus(vec_load(p - 3), vec_set(0xf0 - 0x80)));
    return vec_xor(vec_and(due, vec_set(0x80)), named);
}

/* Bytes p[at..n) are looked at, p[at - 3..at) end with a whole character. Returns how far (a multiple of 64 from `at`)
 * no fault was seen; a character may be cut there. */
size_t MG_JOIN(mg_utf8_, MG_SUFFIX)(const uint8_t *p, size_t at, size_t n) {
    int cut = 0; /* the block before may have ended in bytes that await more */
#if defined(MG_SIMD_LATIN)
    uint64_t due = 0; /* 1: it ended with the first byte of two */
#endif
    for (; n - at >= 64; at += 64) {
#if defined(MG_SIMD_LATIN)
        /* Most lists hold nothing beyond characters of two bytes, here and there: whether a block has some is not worth
         * a branch, which would be mispredicted every other row. */
        uint64_t wide, rest, two;
        latin64(p + at, &wide, &rest, &two);
        if (!cut && ((wide ^ (rest | two)) | (rest ^ (two << 1 | due))) == 0) {
            due = two >> 63;
            continue;
        }
        due = 0;
#else
        mg_vec all = vec_load(p + at);
        for (int v = VEC; v < 64; v += VEC) all = vec_or(all, vec_load(p + at + v));
        int ascii = vec_ascii(all);
        if (ascii && !cut) continue;
#endif
        mg_vec bad = faults(p + at);
        for (int v = VEC; v < 64; v += VEC) bad = vec_or(bad, faults(p + at + v));
        if (vec_any(bad)) break;
#if defined(MG_SIMD_LATIN)
        cut = (wide >> 61) != 0;
#else
        cut = !ascii;
#endif
    }
    return at;
}
