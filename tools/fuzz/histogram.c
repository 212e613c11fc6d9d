/* The histogram against a sorted array: sum, ends, ranks within the error that is promised, and merging of parts. */
#include "mg.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(x) do { if (!(x)) __builtin_trap(); } while (0)
#define MAX_VALUES 512

static int by_value(const void *x, const void *y) {
    uint64_t a = *(const uint64_t *)x, b = *(const uint64_t *)y;
    return (a > b) - (a < b);
}

static int same(const mg_hist *a, const mg_hist *b) { return memcmp(a, b, sizeof *a) == 0; }

/* What buckets count, from below, against the values. */
static void check_buckets(const mg_hist *h, const uint64_t *sorted, size_t n) {
    uint64_t seen = 0, beyond = 0;
    size_t at = 0;
    for (size_t i = 0; i < n; i++) beyond += sorted[i] >= MG_HIST_LIMIT;
    CHECK(h->overflow == beyond);
    for (uint32_t b = 0; b < MG_HIST_BUCKETS; b++) {
        CHECK(b == 0 || mg_hist_last(b) > mg_hist_last(b - 1));
        seen += h->bucket[b];
        while (at < n && (b + 1 == MG_HIST_BUCKETS || sorted[at] <= mg_hist_last(b))) at++;
        CHECK(seen == at);
    }
    CHECK(mg_hist_last(MG_HIST_BUCKETS - 1) == MG_HIST_LIMIT - 1 && seen == h->count);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    uint64_t sorted[MAX_VALUES];
    unsigned __int128 sum = 0;
    size_t n = 0;
    mg_hist *h = malloc(3 * sizeof *h); /* the whole, and two parts */
    CHECK(h);
    for (int i = 0; i < 3; i++) mg_hist_init(&h[i]);
    for (; size >= 3 && n < MAX_VALUES; data += 3, size -= 3) {
        /* 16 bits, anywhere in the 64; all ones below them now and then: the ends of buckets */
        uint32_t shift = data[2] & 63;
        uint64_t value = (uint64_t)(data[0] | data[1] << 8) << shift;
        if (data[2] & 64) value |= ((uint64_t)1 << shift) - 1;
        sorted[n++] = value;
        sum += value;
        mg_hist_observe(&h[0], value);
        mg_hist_observe(&h[1 + (data[2] >> 7)], value);
    }
    qsort(sorted, n, sizeof *sorted, by_value);
    CHECK(h->count == n && h->sum == (uint64_t)sum && h->sum_high == (uint64_t)(sum >> 64));
    check_buckets(h, sorted, n);
    if (n) CHECK(h->min == sorted[0] && h->max == sorted[n - 1]);

    for (uint32_t i = 0; i <= 40; i++) {
        double q = i / 40.0;
        uint64_t got, rank = 0;
        mg_hist_quantiles(h, &q, 1, &got);
        while (rank < n && (double)rank < q * (double)n) rank++;
        if (!n) {
            CHECK(got == 0);
            continue;
        }
        uint64_t exact = sorted[rank ? rank - 1 : 0];
        CHECK(got >= sorted[0] && got <= sorted[n - 1]);
        if (rank <= 1 || rank == n) CHECK(got == exact);
        else if (exact >= MG_HIST_LIMIT) CHECK(got >= MG_HIST_LIMIT);
        else CHECK((got > exact ? got - exact : exact - got) <= (double)exact / 65 + 1);
    }
    mg_hist_merge(&h[1], &h[2]);
    CHECK(same(&h[0], &h[1]));
    mg_hist_init(&h[1]);
    mg_hist_merge(&h[1], &h[0]);
    CHECK(same(&h[0], &h[1]));
    mg_hist_merge(&h[0], &h[0]);
    CHECK(h[0].count == 2 * n && h[0].min == h[1].min && h[0].max == h[1].max);
    free(h);
    return 0;
}
