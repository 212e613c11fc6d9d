/* Addresses with SSE4.2: 16 bytes at a time, two nibble look-ups and five byte masks each. */
#ifndef MG_ADDRESS_SSE42_H
#define MG_ADDRESS_SSE42_H

#include "address.h"
#include "address_nibbles.h"

#include <immintrin.h>
#include <string.h>

#define suffix(name) name##_sse42
#define INLINE static inline __attribute__((always_inline))

typedef __m128i vec;
INLINE vec load(const uint8_t *p) { return _mm_loadu_si128((const __m128i *)p); }
INLINE void store(uint8_t *q, vec v) { _mm_storeu_si128((__m128i *)q, v); }
INLINE vec load8x2(const uint8_t *a, const uint8_t *b) {
    return _mm_unpacklo_epi64(_mm_loadl_epi64((const __m128i *)a), _mm_loadl_epi64((const __m128i *)b));
}
INLINE void store8x2(uint8_t *a, uint8_t *b, vec v) {
    _mm_storel_epi64((__m128i *)a, v);
    _mm_storel_epi64((__m128i *)b, _mm_unpackhi_epi64(v, v));
}

INLINE mg_address_marks marks_of(vec v) {
    static const uint8_t row[16] = {MG_ROWS}, column[16] = {MG_COLUMNS};
    const vec rows = load(row), columns = load(column);
    const vec nibble = _mm_set1_epi8(15), zero = _mm_setzero_si128();
    vec kind = _mm_and_si128(_mm_shuffle_epi8(columns, _mm_and_si128(v, nibble)),
                             _mm_shuffle_epi8(rows, _mm_and_si128(_mm_srli_epi16(v, 4), nibble)));
    vec alnum = _mm_and_si128(kind, _mm_set1_epi8(MG_NIBBLE_ALNUM));
    mg_address_marks m = {(uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(v, _mm_set1_epi8('@'))),
                          (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(v, _mm_set1_epi8('.'))),
                          (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(v, _mm_set1_epi8('-'))),
                          (uint32_t)_mm_movemask_epi8(_mm_cmpgt_epi8(alnum, zero)),
                          (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(kind, zero)) ^ 0xffffu};
    return m;
}

INLINE vec lowered(vec v) {
    vec upper = _mm_and_si128(_mm_cmpgt_epi8(v, _mm_set1_epi8('A' - 1)), _mm_cmpgt_epi8(_mm_set1_epi8('Z' + 1), v));
    return _mm_or_si128(v, _mm_and_si128(upper, _mm_set1_epi8(32)));
}

#include "address_body16.h"
#include "address_good.h"
#endif
