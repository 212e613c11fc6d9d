/* AVX2, BMI1, BMI2 as the kernels' bodies see them: 64-byte blocks for masks, 32-byte vectors for look-ups. */
#define MG_SUFFIX avx2
#define MG_SIMD_X86 1
#include <immintrin.h>
#include <stdint.h>
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,bmi,bmi2,lzcnt,popcnt,pclmul"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,bmi,bmi2,popcnt,pclmul")
#endif

typedef struct { __m256i a, b; } mg_block;
typedef __m256i mg_splat;
static inline mg_splat splat(uint8_t c) { return _mm256_set1_epi8((char)c); }
static inline mg_block load64(const uint8_t *p) {
    mg_block b = {_mm256_loadu_si256((const __m256i *)p), _mm256_loadu_si256((const __m256i *)(p + 32))};
    return b;
}
static inline uint64_t equal64(mg_block b, mg_splat c) {
    uint64_t low = (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(b.a, c));
    return low | (uint64_t)(uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(b.b, c)) << 32;
}
static inline uint64_t any64(mg_block b, mg_splat c) { /* not 0 if any byte is c */
    return (uint32_t)_mm256_movemask_epi8(_mm256_or_si256(_mm256_cmpeq_epi8(b.a, c), _mm256_cmpeq_epi8(b.b, c)));
}
static inline uint64_t popcount64(uint64_t m) { return (uint64_t)__builtin_popcountll(m); }
static inline uint64_t prefix_xor(uint64_t m) {
    __m128i product = _mm_clmulepi64_si128(_mm_set_epi64x(0, (long long)m), _mm_set1_epi8((char)0xff), 0);
    return (uint64_t)_mm_cvtsi128_si64(product);
}

enum { VEC = 32 };
typedef __m256i mg_vec;
static inline mg_vec vec_load(const uint8_t *p) { return _mm256_loadu_si256((const __m256i *)p); }
static inline mg_vec vec_table(const uint8_t *p) { return _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)p)); }
static inline mg_vec vec_set(uint8_t c) { return _mm256_set1_epi8((char)c); }
static inline mg_vec vec_and(mg_vec a, mg_vec b) { return _mm256_and_si256(a, b); }
static inline mg_vec vec_or(mg_vec a, mg_vec b) { return _mm256_or_si256(a, b); }
static inline mg_vec vec_xor(mg_vec a, mg_vec b) { return _mm256_xor_si256(a, b); }
static inline mg_vec vec_minus(mg_vec a, mg_vec b) { return _mm256_subs_epu8(a, b); } /* not below 0 */
static inline mg_vec vec_high(mg_vec a) { return _mm256_and_si256(_mm256_srli_epi16(a, 4), _mm256_set1_epi8(15)); }
static inline mg_vec vec_look(mg_vec table, mg_vec at) { return _mm256_shuffle_epi8(table, at); } /* at < 16 */
static inline int vec_any(mg_vec a) { return !_mm256_testz_si256(a, a); }
static inline int vec_ascii(mg_vec a) { return _mm256_movemask_epi8(a) == 0; }
