/* The envelope of a cached value on the wire: a head of 40 bytes in front of the payload.
 *
 *   0  0xC1, which begins no JSON, no UTF-8 text, no MessagePack value, no gzip or zstd frame
 *   1  format, 1
 *   2  flags       3  serializer      4  u32 type: hash of its schema
 *   8  i64 when it was made, microseconds since 1970
 *  16  u32 how long it is fresh, milliseconds after that; all ones: for ever
 *  20  u32 how long its load took, microseconds, at most all ones
 *  24  u64 version
 *  32  u64 checksum of the key, bytes 0 to 31 and the payload
 *
 * All little-endian. The checksum has the key in it, so that a reply that belongs to another question is seen as wrong. It
 * finds damage, by 64 bits; it is no signature: whoever can write to the server can write what he likes.
 */
#include <string.h>

#include "mg.h"

#define MARK 0xC1
#define FORMAT 1
#define SUMMED 32

static const uint64_t S0 = 0xa0761d6478bd642fu, S1 = 0xe7037ed1a0b428dbu, S2 = 0x8ebc6af09c88c6e3u,
                      S3 = 0x589965cc75374cc3u;

static inline uint64_t read64(const uint8_t *p) {
    uint64_t v;
    memcpy(&v, p, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    v = __builtin_bswap64(v);
#endif
    return v;
}

static inline uint32_t read32(const uint8_t *p) {
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline void write64(uint8_t *p, uint64_t v) {
    for (int i = 0; i < 8; i++) p[i] = (uint8_t)(v >> 8 * i);
}

static inline void write32(uint8_t *p, uint32_t v) {
    for (int i = 0; i < 4; i++) p[i] = (uint8_t)(v >> 8 * i);
}

/* The multiplication of wyhash (Wang Yi, public domain). */
static inline uint64_t fold(uint64_t a, uint64_t b) {
    __uint128_t product = (__uint128_t)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint64_t mixed(uint64_t h, const uint8_t *p, size_t n) {
    uint8_t last[16] = {0};
    size_t left = n;
    if (left >= 128) { /* in four chains: a multiplier takes a new product long before it has the last one */
        uint64_t a = h ^ S0, b = h ^ S1, c = h ^ S2, d = h;
        for (; left >= 64; left -= 64, p += 64) {
            a = fold(read64(p) ^ S0, read64(p + 8) ^ a);
            b = fold(read64(p + 16) ^ S1, read64(p + 24) ^ b);
            c = fold(read64(p + 32) ^ S2, read64(p + 40) ^ c);
            d = fold(read64(p + 48) ^ S3, read64(p + 56) ^ d);
        }
        h = fold(fold(a ^ S1, b) ^ S2, fold(c ^ S3, d)); /* each with its own constants: none can stand for another */
    }
    for (; left >= 16; left -= 16, p += 16) h = fold(read64(p) ^ S0, read64(p + 8) ^ h);
    memcpy(last, p, left);
    h = fold(read64(last) ^ S1, read64(last + 8) ^ h);
    return fold(h ^ S2, (uint64_t)n ^ S0); /* the length: where one part ends and the next begins */
}

static uint64_t checksum(const uint8_t *key, size_t key_n, const uint8_t *head, const uint8_t *payload, size_t n) {
    return mixed(mixed(mixed(S1, key, key_n), head, SUMMED), payload, n);
}

void mg_envelope_write(const mg_envelope *e, const uint8_t *key, size_t key_n, const uint8_t *payload, size_t n,
                       uint8_t head[MG_ENVELOPE_HEAD]) {
    head[0] = MARK;
    head[1] = FORMAT;
    head[2] = e->flags;
    head[3] = e->serializer;
    write32(head + 4, e->type);
    write64(head + 8, (uint64_t)e->made_us);
    write32(head + 16, e->fresh_ms);
    write32(head + 20, e->load_us);
    write64(head + 24, e->version);
    write64(head + 32, checksum(key, key_n, head, payload, n));
}

mg_envelope_verdict mg_envelope_read(const uint8_t *data, size_t n, const uint8_t *key, size_t key_n, mg_envelope *e) {
    if (n < 2 || data[0] != MARK) return MG_ENVELOPE_FOREIGN;
    if (data[1] != FORMAT) return MG_ENVELOPE_FORMAT;
    if (n < MG_ENVELOPE_HEAD) return MG_ENVELOPE_DAMAGED;
    if (checksum(key, key_n, data, data + MG_ENVELOPE_HEAD, n - MG_ENVELOPE_HEAD) != read64(data + SUMMED))
        return MG_ENVELOPE_DAMAGED;
    e->flags = data[2];
    e->serializer = data[3];
    e->type = read32(data + 4);
    e->made_us = (int64_t)read64(data + 8);
    e->fresh_ms = read32(data + 16);
    e->load_us = read32(data + 20);
    e->version = read64(data + 24);
    return MG_ENVELOPE_OK;
}
