/* record.h: what sort.c, merge.c and pgcopy.c know about a record (its form: mg.h, encode.c). Not part of the API.
 *
 * Records come from memory or from a spill file, so none is trusted: mg_record_read() is the one gate. After it, the 16
 * bytes in front of a key belong to its record, which is what lets a short key be loaded as one 8-byte word that ends
 * where the key ends. */
#ifndef MG_RECORD_H
#define MG_RECORD_H

#include "mg.h"

#include <string.h>

#define MG_KEY_AT 16u      /* size, line, the e-mail's length */
#define MG_KEY_MAX 65535u  /* an e-mail has 254; more can only be damage, and the merge counts in 16 bits */

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define MG_BE32(x) (x)
#define MG_BE64(x) (x)
#else
#define MG_BE32(x) __builtin_bswap32(x)
#define MG_BE64(x) __builtin_bswap64(x)
#endif
#define MG_LIKELY(x) __builtin_expect(!!(x), 1)
#define MG_UNLIKELY(x) __builtin_expect(!!(x), 0)

static inline uint32_t mg_load32(const uint8_t *p) {
    uint32_t v;
    memcpy(&v, p, 4);
    return v;
}

static inline uint64_t mg_load64(const uint8_t *p) {
    uint64_t v;
    memcpy(&v, p, 8);
    return v;
}

static inline uint32_t mg_record_size(const uint8_t *r) { return mg_load32(r); }
static inline uint64_t mg_record_line(const uint8_t *r) { return mg_load64(r + 4); }
static inline uint32_t mg_record_key_len(const uint8_t *r) { return MG_BE32(mg_load32(r + 12)); }

/* Is there a whole record with a key at r, with `left` bytes before the end of the buffer? Fields behind the key are
 * looked at only by mg_pg_copy. */
static inline int mg_record_read(const uint8_t *r, size_t left, uint32_t *size, uint32_t *key_len) {
    if (MG_UNLIKELY(left < MG_KEY_AT)) return 0;
    *size = mg_record_size(r);
    *key_len = mg_record_key_len(r); /* NULL (-1) and other negative lengths are above the limit */
    return *size <= left && *key_len <= MG_KEY_MAX && MG_KEY_AT + *key_len <= *size;
}

/* Bytes at .. at+7 of a key as a number that orders like them; zeros stand for what is behind its end. The 16 bytes
 * in front of the key must be readable. */
static inline uint64_t mg_key_word(const uint8_t *key, uint32_t len, uint32_t at) {
    if (MG_LIKELY(at + 8 <= len)) return MG_BE64(mg_load64(key + at));
    if (at >= len) return 0;
    return MG_BE64(mg_load64(key + len - 8)) << (8 * (at + 8 - len));
}

#endif
