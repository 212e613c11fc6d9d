/* NEON (every aarch64 has it) as the kernels' bodies see it: 64-byte blocks for masks, 16-byte vectors for look-ups. */
#define MG_SUFFIX neon
#include <arm_neon.h>
#include <stdint.h>

typedef struct { uint8x16_t v[4]; } mg_block;
typedef uint8x16_t mg_splat;
static inline mg_splat splat(uint8_t c) { return vdupq_n_u8(c); }
static inline mg_block load64(const uint8_t *p) {
    mg_block b;
    for (int i = 0; i < 4; i++) b.v[i] = vld1q_u8(p + 16 * i);
    return b;
}
/* There is no movemask: each byte keeps one bit, three rounds of pairwise addition bring eight bytes into one. */
static inline uint64_t equal64(mg_block b, mg_splat c) {
    static const uint8_t one_each[16] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    const uint8x16_t bit = vld1q_u8(one_each);
    uint8x16_t low = vpaddq_u8(vandq_u8(vceqq_u8(b.v[0], c), bit), vandq_u8(vceqq_u8(b.v[1], c), bit));
    uint8x16_t high = vpaddq_u8(vandq_u8(vceqq_u8(b.v[2], c), bit), vandq_u8(vceqq_u8(b.v[3], c), bit));
    low = vpaddq_u8(low, high);
    low = vpaddq_u8(low, low);
    return vgetq_lane_u64(vreinterpretq_u64_u8(low), 0);
}
static inline mg_block fold64(mg_block b, mg_splat c) {
    for (int i = 0; i < 4; i++) b.v[i] = vorrq_u8(b.v[i], c);
    return b;
}
static inline uint64_t any64(mg_block b, mg_splat c) { /* not 0 if any byte is c */
    uint8x16_t m = vorrq_u8(vceqq_u8(b.v[0], c), vceqq_u8(b.v[1], c));
    return vmaxvq_u8(vorrq_u8(m, vorrq_u8(vceqq_u8(b.v[2], c), vceqq_u8(b.v[3], c))));
}
static inline uint64_t popcount64(uint64_t m) { return (uint64_t)__builtin_popcountll(m); }
static inline uint64_t prefix_xor(uint64_t m) { /* PMULL is optional on aarch64 */
    for (int s = 1; s < 64; s *= 2) m ^= m << s;
    return m;
}
#include "word64.h"

enum { VEC = 16 };
typedef uint8x16_t mg_vec;
static inline mg_vec vec_load(const uint8_t *p) { return vld1q_u8(p); }
static inline mg_vec vec_table(const uint8_t *p) { return vld1q_u8(p); }
static inline mg_vec vec_set(uint8_t c) { return vdupq_n_u8(c); }
static inline mg_vec vec_and(mg_vec a, mg_vec b) { return vandq_u8(a, b); }
static inline mg_vec vec_or(mg_vec a, mg_vec b) { return vorrq_u8(a, b); }
static inline mg_vec vec_xor(mg_vec a, mg_vec b) { return veorq_u8(a, b); }
static inline mg_vec vec_minus(mg_vec a, mg_vec b) { return vqsubq_u8(a, b); } /* not below 0 */
static inline mg_vec vec_high(mg_vec a) { return vshrq_n_u8(a, 4); }
static inline mg_vec vec_look(mg_vec table, mg_vec at) { return vqtbl1q_u8(table, at); } /* at < 16 */
static inline int vec_any(mg_vec a) { return vmaxvq_u8(a) != 0; }
static inline int vec_ascii(mg_vec a) { return vmaxvq_u8(a) < 0x80; }
