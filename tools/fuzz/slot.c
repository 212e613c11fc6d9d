/* The slot of a key against the CRC of its hash tag, made bit by bit; the key ends where its memory does. */
#include "mg.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(x) do { if (!(x)) __builtin_trap(); } while (0)

static uint16_t slowly(const uint8_t *key, size_t n) {
    uint32_t crc = 0;
    for (size_t i = 0; i < n; i++) {
        crc ^= (uint32_t)key[i] << 8;
        for (int bit = 0; bit < 8; bit++) crc = crc & 0x8000 ? (crc << 1 ^ 0x1021) & 0xffff : crc << 1;
    }
    return crc % 16384;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    uint8_t *key = malloc(size ? size : 1);
    CHECK(key);
    if (size) memcpy(key, data, size);
    size_t from = 0, end;
    while (from < size && key[from] != '{') from++;
    for (end = from + 1; end < size && key[end] != '}';) end++;
    int tagged = end < size && end > from + 1;
    uint16_t wanted = tagged ? slowly(key + from + 1, end - from - 1) : slowly(key, size);
    CHECK(mg_key_slot(key, size) == wanted);
    if (tagged) CHECK(mg_key_slot(key + from + 1, end - from - 1) == wanted);
    free(key);
    return 0;
}
