/* AVX2, BMI1, BMI2 as the kernels' bodies see them: 64-byte blocks for masks, 32-byte vectors for look-ups. */
#define MG_SUFFIX avx2
#define MG_SIMD_X86 1
#define MG_SIMD_WIDE 1 /* vectors of 32 bytes at least */
#include <immintrin.h>
#include <stdint.h>
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,bmi,bmi2,lzcnt,popcnt,pclmul"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,bmi,bmi2,lzcnt,popcnt,pclmul")
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
static inline mg_block fold64(mg_block b, mg_splat c) {
    mg_block f = {_mm256_or_si256(b.a, c), _mm256_or_si256(b.b, c)};
    return f;
}
static inline uint64_t any64(mg_block b, mg_splat c) { /* not 0 if any byte is c */
    return (uint32_t)_mm256_movemask_epi8(_mm256_or_si256(_mm256_cmpeq_epi8(b.a, c), _mm256_cmpeq_epi8(b.b, c)));
}
static inline uint64_t popcount64(uint64_t m) { return (uint64_t)__builtin_popcountll(m); }

/* Bitmaps of four blocks at once: see word64.h. */
enum { LANES = 4 };
typedef __m256i mg_word;
static inline mg_word word_load(const uint64_t *p) { return _mm256_loadu_si256((const __m256i *)p); }
static inline void word_store(uint64_t *p, mg_word a) { _mm256_storeu_si256((__m256i *)p, a); }
static inline mg_word word_zero(void) { return _mm256_setzero_si256(); }
static inline mg_word word_top(void) { return _mm256_setr_epi64x(0, 0, 0, INT64_MIN); }
static inline mg_word word_and(mg_word a, mg_word b) { return _mm256_and_si256(a, b); }
static inline mg_word word_or(mg_word a, mg_word b) { return _mm256_or_si256(a, b); }
static inline mg_word word_xor(mg_word a, mg_word b) { return _mm256_xor_si256(a, b); }
static inline mg_word word_less(mg_word a, mg_word b) { return _mm256_andnot_si256(b, a); }
static inline mg_word word_ahead(mg_word a, mg_word one_block_on) {
    return _mm256_or_si256(_mm256_srli_epi64(a, 1), _mm256_slli_epi64(one_block_on, 63));
}
static inline mg_word word_behind(mg_word a, mg_word before) {
    __m256i lanes = _mm256_permute2x128_si256(before, a, 0x21); /* before 2, 3, a 0, 1 */
    lanes = _mm256_alignr_epi8(a, lanes, 8);                    /* before 3, a 0, 1, 2 */
    return _mm256_or_si256(_mm256_slli_epi64(a, 1), _mm256_srli_epi64(lanes, 63));
}
static inline mg_word word_inside(mg_word quote, unsigned *open) {
    static const uint64_t spread[16][4] = {
#define B(x, i) ((x) >> (i) & 1 ? ~(uint64_t)0 : 0)
#define L(x) {B(x, 0), B(x, 1), B(x, 2), B(x, 3)}
        L(0), L(1), L(2), L(3), L(4), L(5), L(6), L(7), L(8), L(9), L(10), L(11), L(12), L(13), L(14), L(15)
#undef L
#undef B
    };
    for (int s = 1; s < 64; s *= 2) quote = _mm256_xor_si256(quote, _mm256_slli_epi64(quote, s));
    unsigned odd = (unsigned)_mm256_movemask_pd(_mm256_castsi256_pd(quote)), all = odd ^ odd << 1; /* blocks with odd parity */
    all ^= all << 2;
    unsigned turned = (all << 1 ^ (0 - *open)) & 15;
    *open ^= all >> 3 & 1;
    return _mm256_xor_si256(quote, _mm256_loadu_si256((const __m256i *)spread[turned]));
}
static inline unsigned word_blocks(mg_word a) {
    __m256i none = _mm256_cmpeq_epi64(a, _mm256_setzero_si256());
    return (unsigned)_mm256_movemask_pd(_mm256_castsi256_pd(none)) ^ 15;
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
/* Of the bytes, which are not ASCII, which continue a character, and which begin one of two bytes (C2..DF). */
#define MG_SIMD_LATIN 1
static inline void latin64(const uint8_t *p, uint64_t *wide, uint64_t *rest, uint64_t *two) {
    *wide = *rest = *two = 0;
    for (unsigned i = 0; i < 64; i += 32) {
        __m256i v = _mm256_loadu_si256((const __m256i *)(p + i));
        __m256i continues = _mm256_cmpgt_epi8(_mm256_set1_epi8(-64), v); /* 80..BF are the lowest, as signed */
        __m256i begins = _mm256_andnot_si256(_mm256_cmpgt_epi8(_mm256_set1_epi8((char)0xc2), v),
                                             _mm256_cmpgt_epi8(_mm256_set1_epi8((char)0xe0), v));
        *wide |= (uint64_t)(uint32_t)_mm256_movemask_epi8(v) << i;
        *rest |= (uint64_t)(uint32_t)_mm256_movemask_epi8(continues) << i;
        *two |= (uint64_t)(uint32_t)_mm256_movemask_epi8(begins) << i;
    }
}
