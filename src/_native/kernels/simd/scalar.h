/* No vectors: the same 64-byte blocks in eight words of 64 bits (SWAR). Runs on any processor, either byte order. */
#define MG_SUFFIX scalar
#define MG_SIMD_NONE 1
#include <stdint.h>
#include <string.h>

typedef struct { uint64_t w[8]; } mg_block;
typedef uint64_t mg_splat;
static inline mg_splat splat(uint8_t c) { return 0x0101010101010101u * c; }
static inline mg_block load64(const uint8_t *p) {
    mg_block b;
    memcpy(&b, p, 64);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    for (int i = 0; i < 8; i++) b.w[i] = __builtin_bswap64(b.w[i]);
#endif
    return b;
}
/* Exact for every byte (subtracting instead would borrow across bytes): bit 7 of each byte of `differs`; a product then
 * brings the eight bits together. */
static inline uint64_t equal64(mg_block b, mg_splat c) {
    const uint64_t low = 0x7f7f7f7f7f7f7f7fu;
    uint64_t m = 0;
    for (int i = 0; i < 8; i++) {
        uint64_t x = b.w[i] ^ c, differs = (((x & low) + low) | x) & ~low;
        m |= differs * 0x0002040810204081u >> 56 << (8 * i);
    }
    return ~m;
}
static inline uint64_t any64(mg_block b, mg_splat c) { /* not 0 if any byte is c */
    uint64_t m = 0;
    for (int i = 0; i < 8; i++) {
        uint64_t x = b.w[i] ^ c;
        m |= (x - 0x0101010101010101u) & ~x;
    }
    return m & 0x8080808080808080u;
}
static inline uint64_t popcount64(uint64_t m) { /* the builtin would be a call */
    m -= m >> 1 & 0x5555555555555555u;
    m = (m & 0x3333333333333333u) + (m >> 2 & 0x3333333333333333u);
    return ((m + (m >> 4)) & 0x0f0f0f0f0f0f0f0fu) * 0x0101010101010101u >> 56;
}
static inline uint64_t prefix_xor(uint64_t m) {
    for (int s = 1; s < 64; s *= 2) m ^= m << s;
    return m;
}
#include "word64.h"
