/* histogram.c: how long things took, in nanoseconds: counts in buckets whose width grows with the value.
 *
 * Every power of two is cut into 32 buckets of equal width, and below 64 ns there is one for each nanosecond. A quantile
 * is told as a value in the middle of its bucket, so it is off by at most 1/65 (1.54 %), and never outside of what was
 * observed. MG_HIST_BUCKETS counters reach to MG_HIST_LIMIT (73 minutes);
 * what is longer goes into the last one and is counted as overflow. Nothing is allocated, nothing grows; two histograms
 * are merged by adding them up, and the result is that of having observed everything in one.
 *
 * Not for two threads at once. */
#include "mg.h"

#include <string.h>

#define CUT 5u /* 2^5 buckets for a power of two */

static inline uint32_t bucket_of(uint64_t ns) {
    uint32_t shift = 63u - CUT - (uint32_t)__builtin_clzll(ns | 1u << CUT);
    return (shift << CUT) + (uint32_t)(ns >> shift);
}

static inline uint32_t shift_of(uint32_t bucket) { return bucket >> (CUT + 1) ? (bucket >> CUT) - 1 : 0; }

static inline uint64_t first_of(uint32_t bucket) {
    uint32_t shift = shift_of(bucket);
    return (uint64_t)(bucket - (shift << CUT)) << shift;
}

uint64_t mg_hist_last(uint32_t bucket) { return first_of(bucket) + ((uint64_t)1 << shift_of(bucket)) - 1; }

void mg_hist_init(mg_hist *h) {
    memset(h, 0, sizeof *h);
    h->min = UINT64_MAX;
}

void mg_hist_observe(mg_hist *h, uint64_t ns) {
    uint64_t before = h->sum;
    h->count++;
    h->sum += ns;
    h->sum_high += h->sum < before;
    if (ns < h->min) h->min = ns;
    if (ns > h->max) h->max = ns;
    if (ns >= MG_HIST_LIMIT) {
        h->overflow++;
        ns = MG_HIST_LIMIT - 1;
    }
    h->bucket[bucket_of(ns)]++;
}

void mg_hist_merge(mg_hist *into, const mg_hist *from) {
    uint64_t before = into->sum;
    into->count += from->count;
    into->overflow += from->overflow;
    into->sum += from->sum;
    into->sum_high += from->sum_high + (into->sum < before);
    if (from->min < into->min) into->min = from->min;
    if (from->max > into->max) into->max = from->max;
    for (uint32_t i = 0; i < MG_HIST_BUCKETS; i++) into->bucket[i] += from->bucket[i];
}

/* What is told for all values a..b of a bucket: 2ab/(a+b) is equally wrong for both, by the (b-a)/(b+a)th part. */
static inline uint64_t middle_of(uint32_t bucket) {
    uint64_t a = first_of(bucket), width = ((uint64_t)1 << shift_of(bucket)) - 1, b = a + width;
    return width ? a + (uint64_t)((double)width * (double)a / (double)(a + b)) : a;
}

void mg_hist_quantiles(const mg_hist *h, const double *q, size_t n, uint64_t *out) {
    for (size_t i = 0; i < n; i++) {
        double exact = q[i] * (double)h->count;
        uint64_t rank = exact >= (double)h->count ? h->count : (uint64_t)exact;
        rank += (double)rank < exact && rank < h->count;
        if (rank <= 1 || rank == h->count) { /* these two are known exactly */
            out[i] = !h->count ? 0 : rank <= 1 ? h->min : h->max;
            continue;
        }
        uint32_t b = bucket_of(h->min < MG_HIST_LIMIT ? h->min : MG_HIST_LIMIT - 1);
        for (uint64_t seen = h->bucket[b]; seen < rank && b + 1 < MG_HIST_BUCKETS;) seen += h->bucket[++b];
        uint64_t value = rank > h->count - h->overflow ? MG_HIST_LIMIT : middle_of(b);
        out[i] = value < h->min ? h->min : value > h->max ? h->max : value;
    }
}
