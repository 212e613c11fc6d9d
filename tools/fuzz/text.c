/* Fuzzes the encodings: UTF-8 checked on every instruction set against a decoder written here, transcoders against
 * themselves in pieces and small buffers.
 *
 * Input: byte 0 says how the text is cut and repeated (vectors need length); the rest is text.
 */
#include "mg.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(x) do { if (!(x)) __builtin_trap(); } while (0)

/* By value, not by byte patterns: decode, then look whether the value needs that length and may exist. */
static size_t valid_prefix(const uint8_t *p, size_t n) {
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    size_t i = 0;
    while (i < n) {
        size_t len = p[i] < 0x80 ? 1 : p[i] >> 5 == 6 ? 2 : p[i] >> 4 == 14 ? 3 : p[i] >> 3 == 30 ? 4 : 0;
        if (len == 0 || len > n - i) return i;
        uint32_t c = len == 1 ? p[i] : p[i] & (0x7fu >> len);
        for (size_t k = 1; k < len; k++) {
            if (p[i + k] >> 6 != 2) return i;
            c = c << 6 | (p[i + k] & 63);
        }
        if (c < least[len] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000)) return i;
        i += len;
    }
    return n;
}

static mg_status transcode(int kind, const uint8_t *p, size_t n, int eof, uint8_t *out, size_t cap, size_t *used, size_t *made) {
    switch (kind) {
    case 0: return mg_from_cp1252(p, n, out, cap, used, made);
    case 1: return mg_from_latin1(p, n, out, cap, used, made);
    default: return mg_from_utf16(p, n, kind == 3, eof, out, cap, used, made);
    }
}

static void transcoder(int kind, const uint8_t *p, size_t n, unsigned cut) {
    size_t cap = n * 3 + 4, used = 0, made = 0, from = 0, to = 0;
    uint8_t *whole = malloc(cap), *parts = malloc(cap);
    CHECK(whole && parts);
    CHECK(transcode(kind, p, n, 1, whole, cap, &used, &made) == MG_OK && used == n && made <= cap);
    for (size_t i = 0; i < made;) { /* what is not valid is the byte 0xFF */
        i += valid_prefix(whole + i, made - i);
        if (i < made) CHECK(whole[i++] == 0xff);
    }
    for (size_t end = 0; from < n || end < n;) {
        size_t u = 0, m = 0, room = 4 + cut % 37;
        cut = cut * 1103515245u + 12345u;
        if (end < n) end += 1 + (cut >> 16) % 50;
        if (end > n) end = n;
        for (;;) {
            uint8_t *exact = malloc(room);
            CHECK(exact);
            mg_status st = transcode(kind, p + from, end - from, end == n, exact, room, &u, &m);
            CHECK(u <= end - from && m <= room && m <= cap - to);
            memcpy(parts + to, exact, m);
            free(exact);
            from += u;
            to += m;
            CHECK(st == MG_OK || (st == MG_FULL && u > 0));
            if (st == MG_OK) break;
        }
        CHECK(end < n || from == n);
        CHECK(end - from < 4);
    }
    CHECK(to == made && memcmp(whole, parts, made) == 0);
    free(whole);
    free(parts);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1) return 0;
    size_t n = size - 1, pad = data[0] & 15 ? (size_t)(data[0] & 15) * 13 : 0;
    const uint8_t *text = data + 1;
    uint8_t *padded = malloc(n + pad ? n + pad : 1); /* every place in a block */
    CHECK(padded);
    memset(padded, 'x', pad);
    if (n) memcpy(padded + pad, text, n);
    size_t expected = valid_prefix(padded, n + pad);
    for (int isa = 0; isa < MG_ISA_COUNT; isa++)
        if (mg_isa_force((mg_isa)isa) == 0) CHECK(mg_utf8_valid(padded, n + pad) == expected);
    CHECK(mg_utf8_has_nul(padded, n + pad) == (n && memchr(text, 0, n) != NULL));
    free(padded);
    for (int kind = 0; kind < 4; kind++) transcoder(kind, text, n, data[0]);
    return 0;
}
