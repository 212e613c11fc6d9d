/* AVX-512 (F, BW, VL, VBMI, VBMI2) as the kernels' bodies see it: a 64-byte block is one vector, masks are compares. */
#define MG_SUFFIX avx512
#define MG_SIMD_X86 1
#define MG_SIMD_WIDE 1 /* vectors of 32 bytes at least */
#define MG_SIMD_COMPRESS 1
#include <immintrin.h>
#include <stdint.h>
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512vl,avx512vbmi,avx512vbmi2,bmi,bmi2,lzcnt,popcnt,pclmul"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512vbmi,avx512vbmi2,bmi,bmi2,lzcnt,popcnt,pclmul")
#endif

typedef __m512i mg_block;
typedef __m512i mg_splat;
static inline mg_splat splat(uint8_t c) { return _mm512_set1_epi8((char)c); }
static inline mg_block load64(const uint8_t *p) { return _mm512_loadu_si512(p); }
static inline uint64_t equal64(mg_block b, mg_splat c) { return _mm512_cmpeq_epi8_mask(b, c); }
static inline mg_block fold64(mg_block b, mg_splat c) { return _mm512_or_si512(b, c); }
static inline uint64_t any64(mg_block b, mg_splat c) { return equal64(b, c); }
static inline uint64_t popcount64(uint64_t m) { return (uint64_t)__builtin_popcountll(m); }

/* Bitmaps of eight blocks at once: see word64.h. */
enum { LANES = 8 };
typedef __m512i mg_word;
static inline mg_word word_load(const uint64_t *p) { return _mm512_loadu_si512(p); }
static inline void word_store(uint64_t *p, mg_word a) { _mm512_storeu_si512(p, a); }
static inline mg_word word_zero(void) { return _mm512_setzero_si512(); }
static inline mg_word word_top(void) { return _mm512_maskz_set1_epi64(0x80, INT64_MIN); }
static inline mg_word word_and(mg_word a, mg_word b) { return _mm512_and_si512(a, b); }
static inline mg_word word_or(mg_word a, mg_word b) { return _mm512_or_si512(a, b); }
static inline mg_word word_xor(mg_word a, mg_word b) { return _mm512_xor_si512(a, b); }
static inline mg_word word_less(mg_word a, mg_word b) { return _mm512_andnot_si512(b, a); }
static inline mg_word word_ahead(mg_word a, mg_word one_block_on) { return _mm512_shrdi_epi64(a, one_block_on, 1); }
static inline mg_word word_behind(mg_word a, mg_word before) {
    return _mm512_shldi_epi64(a, _mm512_alignr_epi64(a, before, 7), 1);
}
static inline mg_word word_inside(mg_word quote, unsigned *open) {
    for (int s = 1; s < 64; s *= 2) quote = _mm512_xor_si512(quote, _mm512_slli_epi64(quote, (unsigned)s));
    unsigned odd = _mm512_test_epi64_mask(quote, _mm512_set1_epi64(INT64_MIN)), all = odd ^ odd << 1;
    all ^= all << 2;
    all ^= all << 4;
    unsigned turned = all << 1 ^ (0 - *open);
    *open ^= all >> 7 & 1;
    return _mm512_mask_xor_epi64(quote, (__mmask8)turned, quote, _mm512_set1_epi64(-1));
}
static inline unsigned word_blocks(mg_word a) { return _mm512_test_epi64_mask(a, a); }

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
/* Of the bytes, which are not ASCII, which continue a character, and which begin one of two bytes (C2..DF). */
#define MG_SIMD_LATIN 1
static inline void latin64(const uint8_t *p, uint64_t *wide, uint64_t *rest, uint64_t *two) {
    __m512i v = _mm512_loadu_si512(p);
    *wide = _mm512_movepi8_mask(v);
    *rest = _mm512_cmplt_epi8_mask(v, _mm512_set1_epi8(-64));
    *two = _mm512_cmple_epu8_mask(_mm512_sub_epi8(v, _mm512_set1_epi8((char)0xc2)), _mm512_set1_epi8(0xdf - 0xc2));
}
