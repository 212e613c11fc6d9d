/* Elements of RESP: what is whole is found in its own bytes and not in fewer, what is damaged stays so, and the input ends
 * where its memory does. */
#include "mg.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(x) do { if (!(x)) __builtin_trap(); } while (0)

static mg_status next(const uint8_t *p, size_t n, mg_resp *out, size_t *used) {
    uint8_t *held = malloc(n ? n : 1); /* of exactly this size */
    CHECK(held);
    if (n) memcpy(held, p, n);
    mg_status status = mg_resp_next(held, n, out, used);
    if (status == MG_OK && out->kind <= MG_RESP_ERROR) {
        CHECK(out->at >= held && out->len <= n && out->at + out->len + 2 == held + *used);
        out->at = p + (out->at - held);
    }
    free(held);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    size_t at = 0;
    for (int elements = 0; elements < 64; elements++) {
        mg_resp it = {0}, other = {0};
        size_t used = 0, again = 0, n = size - at;
        mg_status status = next(data + at, n, &it, &used);
        CHECK(status == MG_OK || status == MG_NEED_MORE || status == MG_CORRUPT);
        if (status == MG_CORRUPT) CHECK(it.why);
        size_t whole = status == MG_OK ? used : n;
        CHECK(status != MG_OK || (used > 2 && used <= n));
        CHECK(status != MG_NEED_MORE || !used || used > n);
        for (size_t part = whole > 300 ? whole - 300 : 0; part < whole; part++) {
            mg_status found = next(data + at, part, &other, &again);
            if (found == MG_CORRUPT) {
                CHECK(status == MG_CORRUPT);
            } else {
                CHECK(found == MG_NEED_MORE);
                CHECK(!again || status != MG_OK || again == used);
            }
        }
        if (status != MG_OK) break;
        CHECK(next(data + at, used, &other, &again) == MG_OK && again == used && other.kind == it.kind);
        if (it.kind <= MG_RESP_ERROR) CHECK(other.at == it.at && other.len == it.len);
        if (it.kind == MG_RESP_INTEGER || it.kind >= MG_RESP_ARRAY) CHECK(other.number == it.number);
        if (it.kind >= MG_RESP_ARRAY) CHECK(it.number >= 0 && it.number <= MG_RESP_ELEMENTS);
        at += used;
    }
    return 0;
}
