/* No instruction set: the same 64-byte blocks in eight words of 64 bits (SWAR), in either byte order. They go in pairs,
 * which the compiler keeps in 16-byte registers where every processor of the kind has them (x86-64, aarch64). */
#define MG_SUFFIX scalar
#include <stdint.h>
#include <string.h>

typedef uint64_t mg_pair __attribute__((vector_size(16)));
typedef struct { mg_pair v[4]; } mg_block;
typedef uint64_t mg_splat;
static inline mg_splat splat(uint8_t c) { return 0x0101010101010101u * c; }
static inline mg_block load64(const uint8_t *p) {
    mg_block b;
    memcpy(&b, p, 64);
    return b;
}
/* Exact for every byte (subtracting instead would borrow across bytes): bit 7 of each byte of `differs`. The eight words
 * are gathered in one, word i in bit i of each byte, and that square of 8 by 8 bits is transposed: once a block, where a
 * product to bring eight bits together would be due for every word, and not in pairs. */
static inline uint64_t equal64(mg_block b, mg_splat c) {
    const uint64_t low = 0x7f7f7f7f7f7f7f7fu;
    mg_pair m = {0, 0};
    for (int i = 0; i < 4; i++) {
        mg_pair x = b.v[i] ^ c, differs = (((x & low) + low) | x) & ~low;
        m = m >> 2 | differs;
    }
    uint64_t w = m[0] >> 1 | m[1], t;
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    w = __builtin_bswap64(w);
#endif
    t = (w ^ w >> 7) & 0x00aa00aa00aa00aau, w ^= t ^ t << 7;
    t = (w ^ w >> 14) & 0x0000cccc0000ccccu, w ^= t ^ t << 14;
    t = (w ^ w >> 28) & 0x00000000f0f0f0f0u, w ^= t ^ t << 28;
    return ~w;
}
static inline mg_block fold64(mg_block b, mg_splat c) {
    for (int i = 0; i < 4; i++) b.v[i] |= c;
    return b;
}
static inline uint64_t any64(mg_block b, mg_splat c) { /* not 0 if any byte is c */
    mg_pair m = {0, 0};
    for (int i = 0; i < 4; i++) {
        mg_pair x = b.v[i] ^ c;
        m |= (x - 0x0101010101010101u) & ~x;
    }
    return (m[0] | m[1]) & 0x8080808080808080u;
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
