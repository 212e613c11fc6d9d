/* Addresses with AVX2: 32 bytes at a time, two nibble look-ups and five byte masks each. */
#ifndef MG_ADDRESS_AVX2_H
#define MG_ADDRESS_AVX2_H

#include "address.h"
#include "address_nibbles.h"

#include <immintrin.h>
#include <string.h>

#define suffix(name) name##_avx2
#define MG_CLEAN 0
#define ABREAST 4
typedef uint64_t lanes __attribute__((vector_size(32)));
#define nonzero(v)                                                                                                     \
    (_mm256_movemask_pd((__m256d)_mm256_cmpeq_epi64((__m256i)(v), _mm256_setzero_si256())) ^ 15)

#define INLINE static inline __attribute__((always_inline))

INLINE mg_address_marks marks_of(__m256i v) {
    static const uint8_t row[16] __attribute__((aligned(16))) = {MG_ROWS};
    static const uint8_t column[16] __attribute__((aligned(16))) = {MG_COLUMNS};
    const __m256i rows = _mm256_broadcastsi128_si256(_mm_load_si128((const __m128i *)row));
    const __m256i columns = _mm256_broadcastsi128_si256(_mm_load_si128((const __m128i *)column));
    const __m256i nibble = _mm256_set1_epi8(15), zero = _mm256_setzero_si256();
    __m256i kind = _mm256_and_si256(_mm256_shuffle_epi8(columns, _mm256_and_si256(v, nibble)),
                                    _mm256_shuffle_epi8(rows, _mm256_and_si256(_mm256_srli_epi16(v, 4), nibble)));
    __m256i alnum = _mm256_and_si256(kind, _mm256_set1_epi8(MG_NIBBLE_ALNUM));
    mg_address_marks m = {(uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(v, _mm256_set1_epi8('@'))),
                          (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(v, _mm256_set1_epi8('.'))),
                          (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(v, _mm256_set1_epi8('-'))),
                          (uint32_t)_mm256_movemask_epi8(_mm256_cmpgt_epi8(alnum, zero)),
                          (uint32_t)~_mm256_movemask_epi8(_mm256_cmpeq_epi8(kind, zero))};
    return m;
}

/* b is about the bytes from `shift` on; where both speak of a byte they agree. */
INLINE mg_address_marks joined(mg_address_marks a, mg_address_marks b, unsigned shift) {
    a.at |= b.at << shift;
    a.dot |= b.dot << shift;
    a.hyphen |= b.hyphen << shift;
    a.alnum |= b.alnum << shift;
    a.atext |= b.atext << shift;
    return a;
}

INLINE mg_address_marks split(mg_address_marks m, unsigned bits, unsigned shift) {
    uint64_t low = ((uint64_t)1 << bits) - 1;
    mg_address_marks a = {m.at & low, m.dot & low, m.hyphen & low, m.alnum & low, m.atext & low};
    mg_address_marks b = {m.at >> bits, m.dot >> bits, m.hyphen >> bits, m.alnum >> bits, m.atext >> bits};
    return joined(a, b, shift);
}

INLINE __m256i load(const uint8_t *p) { return _mm256_loadu_si256((const __m256i *)p); }
INLINE __m128i load16(const uint8_t *p) { return _mm_loadu_si128((const __m128i *)p); }
INLINE __m128i load8(const uint8_t *p) { return _mm_loadl_epi64((const __m128i *)p); }

/* Two loads that overlap in the middle read every length exactly. */
INLINE mg_address_marks marks_exact(const uint8_t *p, size_t n) {
    if (n >= 32) return joined(marks_of(load(p)), marks_of(load(p + n - 32)), (unsigned)(n - 32));
    if (n >= 16) return split(marks_of(_mm256_set_m128i(load16(p + n - 16), load16(p))), 16, (unsigned)(n - 16));
    __m128i both = _mm_unpacklo_epi64(load8(p), load8(p + n - 8));
    return split(marks_of(_mm256_zextsi128_si256(both)), 8, (unsigned)(n - 8)); /* zeros are of no kind */
}

INLINE mg_address_marks marks_slack(const uint8_t *p, size_t n) {
    mg_address_marks m = marks_of(load(p));
    return n <= 32 ? m : joined(m, marks_of(load(p + 32)), 32);
}

INLINE __m256i lowered(__m256i v) {
    __m256i upper = _mm256_and_si256(_mm256_cmpgt_epi8(v, _mm256_set1_epi8('A' - 1)),
                                     _mm256_cmpgt_epi8(_mm256_set1_epi8('Z' + 1), v));
    return _mm256_or_si256(v, _mm256_and_si256(upper, _mm256_set1_epi8(32)));
}

INLINE void store16(uint8_t *q, __m128i v) { _mm_storeu_si128((__m128i *)q, v); }

/* Both halves are loaded before the first is stored: norm may be p. */
INLINE void lower_exact(uint8_t *norm, const uint8_t *p, size_t n) {
    if (n >= 32) {
        __m256i a = lowered(load(p)), b = lowered(load(p + n - 32));
        _mm256_storeu_si256((__m256i *)norm, a);
        _mm256_storeu_si256((__m256i *)(norm + n - 32), b);
    } else if (n >= 16) {
        __m256i v = lowered(_mm256_set_m128i(load16(p + n - 16), load16(p)));
        store16(norm, _mm256_castsi256_si128(v));
        store16(norm + n - 16, _mm256_extracti128_si256(v, 1));
    } else {
        __m256i v = lowered(_mm256_zextsi128_si256(_mm_unpacklo_epi64(load8(p), load8(p + n - 8))));
        __m128i both = _mm256_castsi256_si128(v);
        _mm_storel_epi64((__m128i *)norm, both);
        _mm_storel_epi64((__m128i *)(norm + n - 8), _mm_unpackhi_epi64(both, both));
    }
}

INLINE void lower_slack(uint8_t *norm, const uint8_t *p, size_t n) {
    _mm256_storeu_si256((__m256i *)norm, lowered(load(p)));
    if (n > 32) _mm256_storeu_si256((__m256i *)(norm + 32), lowered(load(p + 32)));
}

#include "address_good.h"
#endif
