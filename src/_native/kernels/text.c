/* text.c: is it UTF-8, and if not, make it so.
 *
 * Validation is exact (RFC 3629) and says how long the valid part is: vectors look for the first block with a fault, the
 * byte-wise reader finds the place in it. The transcoders copy runs of ASCII eight bytes at a time and translate the
 * rest one by one: lists of leads are ASCII but for a few names. What has no meaning in the source becomes 0xFF.
 */
#include "text_run.h"

#include <string.h>

#define HIGH_BITS 0x8080808080808080u

static uint64_t load8(const uint8_t *p) {
    uint64_t w;
    memcpy(&w, p, 8);
    return w;
}

/* Length of the character at p[0..n), n > 0; 0 if it is not a whole and valid one. */
static size_t character(const uint8_t *p, size_t n) {
    uint8_t c = p[0];
    if (c < 0x80) return 1;
    if (c < 0xc2 || c > 0xf4) return 0;
    if (n < 2 || (p[1] & 0xc0) != 0x80) return 0;
    if (c < 0xe0) return 2;
    if (c == 0xe0 && p[1] < 0xa0) return 0; /* overlong */
    if (c == 0xed && p[1] > 0x9f) return 0; /* surrogate */
    if (n < 3 || (p[2] & 0xc0) != 0x80) return 0;
    if (c < 0xf0) return 3;
    if (c == 0xf0 && p[1] < 0x90) return 0; /* overlong */
    if (c == 0xf4 && p[1] > 0x8f) return 0; /* above U+10FFFF */
    return n >= 4 && (p[3] & 0xc0) == 0x80 ? 4 : 0;
}

static size_t bytewise(const uint8_t *p, size_t i, size_t n) {
    while (i < n) {
        if (n - i >= 8 && !(load8(p + i) & HIGH_BITS)) {
            i += 8;
            while (n - i >= 32 && !((load8(p + i) | load8(p + i + 8) | load8(p + i + 16) | load8(p + i + 24)) & HIGH_BITS))
                i += 32;
            continue;
        }
        size_t len = character(p + i, n - i);
        if (len == 0) return i;
        i += len;
    }
    return n;
}

static size_t by_vectors(const uint8_t *p, size_t i, size_t n) {
    switch (mg_isa_current()) {
#if defined(__x86_64__)
    case MG_ISA_SSE42: return mg_utf8_sse42(p, i, n);
    case MG_ISA_AVX2: return mg_utf8_avx2(p, i, n);
    case MG_ISA_AVX512: return mg_utf8_avx512(p, i, n);
#elif defined(__aarch64__)
    case MG_ISA_NEON: return mg_utf8_neon(p, i, n);
#endif
    default: return i;
    }
}

size_t mg_utf8_valid(const uint8_t *p, size_t n) {
    size_t i = 0;
    if (n >= 128) {
        while (i < 3) { /* vectors look three bytes back */
            size_t len = character(p + i, n - i);
            if (len == 0) return i;
            i += len;
        }
        i = by_vectors(p, i, n);
        size_t back = 0; /* the last character before i may be cut: read it again */
        while (back < 3 && (p[i - back - 1] & 0xc0) == 0x80) back++;
        if (p[i - back - 1] >= 0x80) i -= back + 1;
    }
    return bytewise(p, i, n);
}

int mg_utf8_has_nul(const uint8_t *p, size_t n) { return n != 0 && memchr(p, 0, n) != NULL; }

static size_t put(uint8_t *o, uint32_t c) {
    if (c < 0x80) {
        o[0] = (uint8_t)c;
        return 1;
    }
    if (c < 0x800) {
        o[0] = (uint8_t)(0xc0 | c >> 6);
        o[1] = (uint8_t)(0x80 | (c & 63));
        return 2;
    }
    if (c < 0x10000) {
        o[0] = (uint8_t)(0xe0 | c >> 12);
        o[1] = (uint8_t)(0x80 | (c >> 6 & 63));
        o[2] = (uint8_t)(0x80 | (c & 63));
        return 3;
    }
    o[0] = (uint8_t)(0xf0 | c >> 18);
    o[1] = (uint8_t)(0x80 | (c >> 12 & 63));
    o[2] = (uint8_t)(0x80 | (c >> 6 & 63));
    o[3] = (uint8_t)(0x80 | (c & 63));
    return 4;
}

/* Windows-1252, 0x80 to 0x9f; 0: not defined */
static const uint16_t cp1252[32] = {
    0x20ac, 0, 0x201a, 0x0192, 0x201e, 0x2026, 0x2020, 0x2021, 0x02c6, 0x2030, 0x0160, 0x2039, 0x0152, 0, 0x017d, 0,
    0, 0x2018, 0x2019, 0x201c, 0x201d, 0x2022, 0x2013, 0x2014, 0x02dc, 0x2122, 0x0161, 0x203a, 0x0153, 0, 0x017e, 0x0178};

static mg_status one_byte(const uint8_t *p, size_t n, const uint16_t *c1, uint8_t *out, size_t cap, size_t *used,
                          size_t *made) {
    size_t i = 0, o = 0;
    while (i < n) {
        while (n - i >= 16 && cap - o >= 16 && !((load8(p + i) | load8(p + i + 8)) & HIGH_BITS)) {
            memcpy(out + o, p + i, 16);
            i += 16;
            o += 16;
        }
        if (i == n) break;
        if (cap - o < 3) break;
        uint8_t c = p[i++];
        uint32_t u = c1 && c >= 0x80 && c < 0xa0 ? c1[c - 0x80] : c;
        if (u || !c)
            o += put(out + o, u);
        else
            out[o++] = 0xff;
    }
    *used = i;
    *made = o;
    return i == n ? MG_OK : MG_FULL;
}

mg_status mg_from_cp1252(const uint8_t *p, size_t n, uint8_t *out, size_t cap, size_t *used, size_t *made) {
    return one_byte(p, n, cp1252, out, cap, used, made);
}

mg_status mg_from_latin1(const uint8_t *p, size_t n, uint8_t *out, size_t cap, size_t *used, size_t *made) {
    return one_byte(p, n, NULL, out, cap, used, made);
}

static inline uint32_t unit(const uint8_t *p, int big) { return big ? (uint32_t)p[0] << 8 | p[1] : (uint32_t)p[1] << 8 | p[0]; }

/* Four units of ASCII from 8 bytes to 4; on a big-endian host the plain way below does all the work. */
static inline int four_ascii(const uint8_t *p, int big, uint8_t *out) {
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    uint64_t w = load8(p);
    if (w & (big ? 0x80ff80ff80ff80ffu : 0xff80ff80ff80ff80u)) return 0;
    if (big) w >>= 8;
    w = (w | w >> 8) & 0x0000ffff0000ffffu;
    uint32_t four = (uint32_t)(w | w >> 16);
    memcpy(out, &four, 4);
    return 1;
#else
    (void)p, (void)big, (void)out;
    return 0;
#endif
}

mg_status mg_from_utf16(const uint8_t *p, size_t n, int big_endian, int eof, uint8_t *out, size_t cap, size_t *used,
                        size_t *made) {
    size_t i = 0, o = 0;
    mg_status st = MG_OK;
    while (i < n) {
        while (n - i >= 8 && cap - o >= 4 && four_ascii(p + i, big_endian, out + o)) {
            i += 8;
            o += 4;
        }
        if (i == n) break;
        if (cap - o < 4) {
            st = MG_FULL;
            break;
        }
        if (n - i < 2) { /* half a unit */
            if (!eof) break;
            out[o++] = 0xff;
            i = n;
            break;
        }
        uint32_t u = unit(p + i, big_endian);
        if (u >= 0xd800 && u < 0xe000) {
            uint32_t low = 0;
            if (u < 0xdc00) {
                if (n - i >= 4)
                    low = unit(p + i + 2, big_endian);
                else if (!eof)
                    break;
            }
            if (low >= 0xdc00 && low < 0xe000) {
                o += put(out + o, 0x10000 + ((u - 0xd800) << 10) + (low - 0xdc00));
                i += 4;
            } else { /* half a pair */
                out[o++] = 0xff;
                i += 2;
            }
            continue;
        }
        o += put(out + o, u);
        i += 2;
    }
    *used = i;
    *made = o;
    return st;
}
