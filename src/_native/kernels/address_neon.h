/* Addresses with NEON: 16 bytes at a time, two nibble look-ups and five byte masks each. */
#ifndef MG_ADDRESS_NEON_H
#define MG_ADDRESS_NEON_H

#include "address.h"
#include "address_nibbles.h"

#include <arm_neon.h>
#include <string.h>

#define suffix(name) name##_neon
#define INLINE static inline __attribute__((always_inline))

typedef uint8x16_t vec;
INLINE vec load(const uint8_t *p) { return vld1q_u8(p); }
INLINE void store(uint8_t *q, vec v) { vst1q_u8(q, v); }
INLINE vec load8x2(const uint8_t *a, const uint8_t *b) { return vcombine_u8(vld1_u8(a), vld1_u8(b)); }
INLINE void store8x2(uint8_t *a, uint8_t *b, vec v) {
    vst1_u8(a, vget_low_u8(v));
    vst1_u8(b, vget_high_u8(v));
}

/* One bit a byte: each byte of the comparison keeps its own bit, pairwise sums bring eight of them together. */
INLINE uint64_t bits_of(vec hit) {
    static const uint8_t weights[16] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    vec w = vandq_u8(hit, vld1q_u8(weights));
    w = vpaddq_u8(w, w);
    w = vpaddq_u8(w, w);
    w = vpaddq_u8(w, w);
    return vgetq_lane_u16(vreinterpretq_u16_u8(w), 0);
}

INLINE mg_address_marks marks_of(vec v) {
    static const uint8_t row[16] = {MG_ROWS}, column[16] = {MG_COLUMNS};
    vec kind = vandq_u8(vqtbl1q_u8(vld1q_u8(column), vandq_u8(v, vdupq_n_u8(15))),
                        vqtbl1q_u8(vld1q_u8(row), vshrq_n_u8(v, 4)));
    mg_address_marks m = {bits_of(vceqq_u8(v, vdupq_n_u8('@'))), bits_of(vceqq_u8(v, vdupq_n_u8('.'))),
                          bits_of(vceqq_u8(v, vdupq_n_u8('-'))), bits_of(vtstq_u8(kind, vdupq_n_u8(MG_NIBBLE_ALNUM))),
                          bits_of(vtstq_u8(kind, kind))};
    return m;
}

INLINE vec lowered(vec v) {
    vec upper = vcltq_u8(vsubq_u8(v, vdupq_n_u8('A')), vdupq_n_u8(26));
    return vorrq_u8(v, vandq_u8(upper, vdupq_n_u8(32)));
}

#include "address_body16.h"
#include "address_good.h"
#endif
