/* AVX-512 (F, BW, VL, VBMI, VBMI2) as the kernels' bodies see it: a 64-byte block is one vector, masks are compares. */
#define MG_SUFFIX avx512
#define MG_SIMD_X86 1
#define MG_SIMD_COMPRESS 1
#include <immintrin.h>
#include <stdint.h>
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512vl,avx512vbmi,avx512vbmi2,bmi,bmi2,lzcnt,popcnt,pclmul"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512vbmi,avx512vbmi2,bmi,bmi2,popcnt,pclmul")
#endif

typedef __m512i mg_block;
typedef __m512i mg_splat;
static inline mg_splat splat(uint8_t c) { return _mm512_set1_epi8((char)c); }
static inline mg_block load64(const uint8_t *p) { return _mm512_loadu_si512(p); }
static inline uint64_t equal64(mg_block b, mg_splat c) { return _mm512_cmpeq_epi8_mask(b, c); }
static inline uint64_t any64(mg_block b, mg_splat c) { return equal64(b, c); }
static inline uint64_t popcount64(uint64_t m) { return (uint64_t)__builtin_popcountll(m); }
static inline uint64_t prefix_xor(uint64_t m) {
    __m128i product = _mm_clmulepi64_si128(_mm_set_epi64x(0, (long long)m), _mm_set1_epi8((char)0xff), 0);
    return (uint64_t)_mm_cvtsi128_si64(product);
}

enum { VEC = 64 };
typedef __m512i mg_vec;
static inline mg_vec vec_load(const uint8_t *p) { return _mm512_loadu_si512(p); }
static inline mg_vec vec_table(const uint8_t *p) { return _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)p)); }
static inline mg_vec vec_set(uint8_t c) { return _mm512_set1_epi8((char)c); }
static inline mg_vec vec_and(mg_vec a, mg_vec b) { return _mm512_and_si512(a, b); }
static inline mg_vec vec_or(mg_vec a, mg_vec b) { return _mm512_or_si512(a, b); }
static inline mg_vec vec_xor(mg_vec a, mg_vec b) { return _mm512_xor_si512(a, b); }
static inline mg_vec vec_minus(mg_vec a, mg_vec b) { return _mm512_subs_epu8(a, b); } /* not below 0 */
static inline mg_vec vec_high(mg_vec a) { return _mm512_and_si512(_mm512_srli_epi16(a, 4), _mm512_set1_epi8(15)); }
static inline mg_vec vec_look(mg_vec table, mg_vec at) { return _mm512_shuffle_epi8(table, at); } /* at < 16 */
static inline int vec_any(mg_vec a) { return _mm512_test_epi8_mask(a, a) != 0; }
static inline int vec_ascii(mg_vec a) { return _mm512_movepi8_mask(a) == 0; }
