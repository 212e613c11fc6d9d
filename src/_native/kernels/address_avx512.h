/* Addresses with AVX-512 (F, BW, VL, VBMI): one masked load, one table look-up and six tests for up to 64 bytes.
 * Masked loads and stores touch nothing outside the mask, so exact costs no more than slack. */
#ifndef MG_ADDRESS_AVX512_H
#define MG_ADDRESS_AVX512_H

#include "address.h"

#include <immintrin.h>
#include <string.h>

#define suffix(name) name##_avx512
#define MG_CLEAN 1
#define ABREAST 8
typedef uint64_t lanes __attribute__((vector_size(64)));
#define nonzero(v) _mm512_test_epi64_mask((__m512i)(v), (__m512i)(v))

enum { AT = 1, DOT = 2, HYPHEN = 4, ALNUM = 8, ATEXT = 16 };
#define A ATEXT
#define D (ATEXT | ALNUM)
#define H (ATEXT | HYPHEN)
#define U D
static const uint8_t kind[128] __attribute__((aligned(64))) = {
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, A, 0, A, A, A, A, A, 0, 0, A, A, 0, H, DOT, A, D, D, D, D, D, D, D, D, D, D, 0, 0, 0, A, 0, A,
    AT, U, U, U, U, U, U, U, U, U, U, U, U, U, U, U, U, U, U, U, U, U, U, U, U, U, U, 0, 0, 0, A, A,
    A, D, D, D, D, D, D, D, D, D, D, D, D, D, D, D, D, D, D, D, D, D, D, D, D, D, D, A, A, A, A, 0};
#undef A
#undef D
#undef H
#undef U

static inline __attribute__((always_inline)) __mmask64 first(size_t n) { return _bzhi_u64(~(uint64_t)0, (unsigned)n); }

/* Whole vectors in memory: gcc would make them anew from a register for each address, on the port that the tests need. */
#define ALL8(b) b, b, b, b, b, b, b, b
#define ALL64(b) {ALL8(b), ALL8(b), ALL8(b), ALL8(b), ALL8(b), ALL8(b), ALL8(b), ALL8(b)}
static const uint8_t bit[6][64] __attribute__((aligned(64))) = {ALL64(AT), ALL64(DOT), ALL64(HYPHEN), ALL64(ALNUM),
                                                                ALL64(ATEXT), ALL64(0x80)};

static inline __attribute__((always_inline)) mg_address_marks marks_exact(const uint8_t *p, size_t n) {
    __m512i v = _mm512_maskz_loadu_epi8(first(n), p);
    /* The look-up sees 7 bits only; what is not ASCII is of no kind. */
    __mmask64 ascii = _mm512_testn_epi8_mask(v, _mm512_load_si512(bit[5]));
    __m512i k = _mm512_maskz_permutex2var_epi8(ascii, _mm512_load_si512(kind), v, _mm512_load_si512(kind + 64));
    mg_address_marks m = {_mm512_test_epi8_mask(k, _mm512_load_si512(bit[0])),
                          _mm512_test_epi8_mask(k, _mm512_load_si512(bit[1])),
                          _mm512_test_epi8_mask(k, _mm512_load_si512(bit[2])),
                          _mm512_test_epi8_mask(k, _mm512_load_si512(bit[3])),
                          _mm512_test_epi8_mask(k, _mm512_load_si512(bit[4]))};
    return m;
}

static inline __attribute__((always_inline)) void lower_exact(uint8_t *norm, const uint8_t *p, size_t n) {
    __m512i v = _mm512_maskz_loadu_epi8(first(n), p);
    __mmask64 upper = _mm512_cmplt_epu8_mask(_mm512_sub_epi8(v, _mm512_set1_epi8('A')), _mm512_set1_epi8(26));
    _mm512_mask_storeu_epi8(norm, first(n), _mm512_mask_add_epi8(v, upper, v, _mm512_set1_epi8(32)));
}

#define marks_slack marks_exact

static inline __attribute__((always_inline)) void lower_slack(uint8_t *norm, const uint8_t *p, size_t n) {
    (void)n;
    __m512i v = _mm512_loadu_si512(p);
    __mmask64 upper = _mm512_cmplt_epu8_mask(_mm512_sub_epi8(v, _mm512_set1_epi8('A')), _mm512_set1_epi8(26));
    _mm512_storeu_si512(norm, _mm512_mask_add_epi8(v, upper, v, _mm512_set1_epi8(32)));
}

#include "address_good.h"
#endif
