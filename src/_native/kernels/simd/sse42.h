/* SSE4.2 as the kernels' bodies see it: 64-byte blocks for masks, 16-byte vectors for look-ups. x86-64 only. */
#define MG_SUFFIX sse42
#define MG_SIMD_X86 1
#include <immintrin.h>
#include <stdint.h>
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("sse4.2,popcnt,pclmul"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("sse4.2,popcnt,pclmul")
#endif

typedef struct { __m128i v[4]; } mg_block;
typedef __m128i mg_splat;
static inline mg_splat splat(uint8_t c) { return _mm_set1_epi8((char)c); }
static inline mg_block load64(const uint8_t *p) {
    mg_block b;
    for (int i = 0; i < 4; i++) b.v[i] = _mm_loadu_si128((const __m128i *)(p + 16 * i));
    return b;
}
static inline uint64_t equal64(mg_block b, mg_splat c) {
    uint64_t m = 0;
    for (int i = 0; i < 4; i++)
        m |= (uint64_t)(uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(b.v[i], c)) << (16 * i);
    return m;
}
static inline mg_block fold64(mg_block b, mg_splat c) {
    for (int i = 0; i < 4; i++) b.v[i] = _mm_or_si128(b.v[i], c);
    return b;
}
static inline uint64_t any64(mg_block b, mg_splat c) { /* not 0 if any byte is c */
    __m128i m = _mm_cmpeq_epi8(b.v[0], c);
    for (int i = 1; i < 4; i++) m = _mm_or_si128(m, _mm_cmpeq_epi8(b.v[i], c));
    return (uint32_t)_mm_movemask_epi8(m);
}
static inline uint64_t popcount64(uint64_t m) { return (uint64_t)__builtin_popcountll(m); }
static inline uint64_t prefix_xor(uint64_t m) {
    __m128i product = _mm_clmulepi64_si128(_mm_set_epi64x(0, (long long)m), _mm_set1_epi8((char)0xff), 0);
    return (uint64_t)_mm_cvtsi128_si64(product);
}
#include "word64.h"

enum { VEC = 16 };
typedef __m128i mg_vec;
static inline mg_vec vec_load(const uint8_t *p) { return _mm_loadu_si128((const __m128i *)p); }
static inline mg_vec vec_table(const uint8_t *p) { return _mm_loadu_si128((const __m128i *)p); }
static inline mg_vec vec_set(uint8_t c) { return _mm_set1_epi8((char)c); }
static inline mg_vec vec_and(mg_vec a, mg_vec b) { return _mm_and_si128(a, b); }
static inline mg_vec vec_or(mg_vec a, mg_vec b) { return _mm_or_si128(a, b); }
static inline mg_vec vec_xor(mg_vec a, mg_vec b) { return _mm_xor_si128(a, b); }
static inline mg_vec vec_minus(mg_vec a, mg_vec b) { return _mm_subs_epu8(a, b); } /* not below 0 */
static inline mg_vec vec_high(mg_vec a) { return _mm_and_si128(_mm_srli_epi16(a, 4), _mm_set1_epi8(15)); }
static inline mg_vec vec_look(mg_vec table, mg_vec at) { return _mm_shuffle_epi8(table, at); } /* at < 16 */
static inline int vec_any(mg_vec a) { return !_mm_testz_si128(a, a); }
static inline int vec_ascii(mg_vec a) { return _mm_movemask_epi8(a) == 0; }
