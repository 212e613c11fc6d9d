/* The address set against a plain list: firsts, look-ups, batches cut anywhere, keys that share ends and beginnings. */
#include "mg.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(x) do { if (!(x)) __builtin_trap(); } while (0)
#define MAX_KEYS 1024

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static int64_t off[MAX_KEYS + 1];
    static uint32_t first[MAX_KEYS], expected[MAX_KEYS];
    if (size < 2 || size > 3400) return 0; /* a longer one could make a key of more than 65,535 bytes */
    size_t batch = 1 + data[0] % 70, n = 0, at = 0, distinct = 0;
    int single = data[1] & 1, shuffled = data[1] & 2;
    const uint8_t *from = data + 2, *end = data + size;
    uint8_t *text = malloc(size * 40 + 1);
    CHECK(text);
    /* each byte of input is a letter, or the end of a key, or a piece that keys have in common */
    for (; from < end && n < MAX_KEYS; from++) {
        if (*from < 0xd0) {
            text[at++] = *from < 0x80 ? "ab@\0"[*from & 3] : *from;
        } else if (*from < 0xe0) {
            const char *piece = (const char *const[]){"@gmail.com", "@x.example", "longer.than.sixteen", "@"}[*from & 3];
            memcpy(text + at, piece, strlen(piece));
            at += strlen(piece);
        } else {
            off[++n] = (int64_t)at;
        }
    }
    if (n < MAX_KEYS) off[++n] = (int64_t)at;
    at = (size_t)off[n];
    uint8_t *exact = malloc(at ? at : 1); /* of exactly this size, so that ASan sees every step outside */
    CHECK(exact);
    memcpy(exact, text, at);
    free(text);
    for (size_t i = 0; i < n; i++) {
        size_t len = (size_t)(off[i + 1] - off[i]), j = 0;
        while (j < i && ((size_t)(off[j + 1] - off[j]) != len || memcmp(exact + off[j], exact + off[i], len) != 0)) j++;
        expected[i] = (uint32_t)j;
        distinct += j == i;
    }
    uint64_t seed;
    memcpy(&seed, (uint8_t[8]){data[0], data[1], 3, 4, 5, 6, 7, 8}, 8);
    mg_seen *s = mg_seen_new(shuffled ? n : 0, seed);
    CHECK(s);
    for (size_t i = 0; i < n;) {
        size_t m = n - i < batch ? n - i : batch;
        for (size_t j = i; j < i + m; j++) {
            uint32_t value = 0;
            int there = mg_seen_has(s, exact + off[j], (size_t)(off[j + 1] - off[j]), &value);
            CHECK(there == (expected[j] < i) && (!there || value == expected[j]));
        }
        if (single) {
            for (size_t j = i; j < i + m; j++) {
                int added;
                CHECK(mg_seen_add(s, exact + off[j], (size_t)(off[j + 1] - off[j]), (uint32_t)j, &first[j], &added) == MG_OK);
                CHECK(added == (expected[j] == j));
            }
        } else {
            CHECK(mg_seen_add_many(s, exact, off + i, m, (uint32_t)i, first + i) == MG_OK);
        }
        i += m;
    }
    CHECK(memcmp(first, expected, n * sizeof *first) == 0);
    CHECK(mg_seen_count(s) == distinct);
    CHECK(mg_seen_bytes(s) > 0);
    mg_seen_free(s);
    free(exact);
    return 0;
}
