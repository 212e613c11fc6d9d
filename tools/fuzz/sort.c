/* Sort, merge and COPY under random input. The first byte chooses:
 *   even: the rest is taken for records as it stands (a damaged spill file): nothing may be read out of bounds, and
 *         whatever is accepted must come out whole;
 *   odd:  the rest makes good records with few, similar keys, spread over several inputs with windows of a few records
 *         and chunks of a few more. What comes out is compared with a plain sort: order, firsts, duplicates, bounds,
 *         tuples. */
#include "mg.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(x) do { if (!(x)) __builtin_trap(); } while (0)
#define MAX_RECORDS 512
#define MAX_INPUTS 9

typedef struct {
    const uint8_t *p, *end;
} source;

static uint8_t next_byte(source *s) { return s->p < s->end ? *s->p++ : 0; }

static uint8_t *copy_of(const uint8_t *p, size_t n) { /* of exactly this size, so that ASan sees every step outside */
    uint8_t *q = malloc(n ? n : 1);
    CHECK(q);
    if (n) memcpy(q, p, n);
    return q;
}

static void put32(uint8_t *p, uint32_t v) {
    for (int i = 0; i < 4; i++) p[i] = (uint8_t)(v >> (24 - 8 * i));
}

static uint32_t get32(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static uint32_t size_of(const uint8_t *r) {
    uint32_t v;
    memcpy(&v, r, 4);
    return v;
}

static uint64_t line_of(const uint8_t *r) {
    uint64_t v;
    memcpy(&v, r + 4, 8);
    return v;
}

static int compare_keys(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len) {
    size_t n = a_len < b_len ? a_len : b_len;
    int c = n ? memcmp(a, b, n) : 0;
    return c ? c : (a_len > b_len) - (a_len < b_len);
}

static int compare_records(const void *x, const void *y) {
    const uint8_t *a = *(const uint8_t *const *)x, *b = *(const uint8_t *const *)y;
    int c = compare_keys(a + 16, get32(a + 12), b + 16, get32(b + 12));
    if (c) return c;
    return (line_of(a) > line_of(b)) - (line_of(a) < line_of(b));
}

/* Sorted copy of records, or NULL if they are refused. */
static uint8_t *sorted(const uint8_t *p, size_t n, size_t block) {
    size_t count, next = 0, at = 0, made;
    if (mg_sort_count(p, n, &count) != MG_OK) return NULL;
    mg_sort_item *items = malloc((count + 1) * sizeof *items), *scratch = malloc((count + 1) * sizeof *items);
    uint8_t *out = malloc(n ? n : 1);
    CHECK(items && scratch && out);
    CHECK(mg_sort_records(p, n, count, items, scratch) == MG_OK);
    for (;;) {
        size_t cap = block < n - at ? block : n - at;
        mg_status st = mg_sort_write(p, n, items, count, &next, out + at, cap, &made);
        CHECK(made <= cap);
        at += made;
        if (st == MG_OK || st == MG_DONE) break;
        CHECK(st == MG_FULL);
        if (!made) block += 64;
    }
    CHECK(at == n && next == count);
    free(items);
    free(scratch);
    return out;
}

static void tuples_of(const mg_chunk *c, uint32_t fields, size_t max_bytes, int ordered) {
    mg_buf out;
    mg_buf_init(&out);
    size_t next = 0, before;
    mg_status st;
    do {
        before = next;
        out.len = 0;
        st = mg_pg_copy(c, NULL, 0, fields, (const uint8_t *)"\0\0\0\1x", 5, 1, NULL, NULL, max_bytes, &next, &out);
        CHECK(st == MG_DONE || st == MG_CORRUPT || (st == MG_FULL && next > before));
    } while (st == MG_FULL);
    out.len = 0;
    CHECK(mg_pg_keys(c, NULL, 0, &out) == MG_OK);
    size_t at = c->n ? 20 : 12;
    for (size_t i = 0; i < c->n; i++) {
        const uint8_t *r = c->data.data + c->off[i];
        size_t n = 4 + (size_t)get32(r + 12);
        CHECK(at + n <= out.len && memcmp(out.data + at, r + 12, n) == 0);
        at += n;
    }
    CHECK(at == out.len);
    uint8_t *mask = calloc(c->n + 1, 1);
    CHECK(mask);
    CHECK(mg_pg_mark(c, out.data, out.len, 1, mask) == MG_OK);
    for (size_t i = 0; ordered && i < c->n; i++) CHECK(mask[i]);
    free(mask);
    if (out.len) { /* an answer that was damaged */
        uint8_t *bad = malloc(out.len), *marks = calloc(c->n + 1, 1);
        CHECK(bad && marks);
        memcpy(bad, out.data, out.len);
        bad[max_bytes % out.len] ^= (uint8_t)(1 + fields);
        st = mg_pg_mark(c, bad, out.len, 1, marks);
        CHECK(st == MG_OK || st == MG_CORRUPT);
        free(bad);
        free(marks);
    }
    mg_buf_free(&out);
}

static void damaged(source *s) {
    uint8_t how = next_byte(s);
    size_t n = (size_t)(s->end - s->p), which;
    uint8_t *window = copy_of(s->p, n), *in_order = sorted(window, n, 1 + how);
    mg_merge *m = mg_merge_new(2);
    CHECK(m);
    mg_merge_input *in = mg_merge_inputs(m);
    in[0] = (mg_merge_input){in_order ? in_order : window, n, 0, 1};
    in[1] = (mg_merge_input){window, n, 0, 1};
    mg_chunk c;
    mg_chunk_init(&c);
    mg_status st;
    do {
        mg_chunk_clear(&c);
        st = mg_merge_next(m, 1 + how % 5, 1 << 20, &c, &which);
        CHECK(st == MG_FULL || st == MG_DONE || st == MG_CORRUPT);
        tuples_of(&c, how * 16u + 1, how, 0);
    } while (st == MG_FULL);
    mg_chunk_free(&c);
    mg_merge_free(m);
    free(window);
    free(in_order);
}

/* Up to 40 bytes: a few letters, often a long beginning in common. */
static size_t make_key(source *s, uint8_t *key) {
    uint8_t b = next_byte(s);
    size_t n = b & 7;
    memcpy(key, "maria.silva@example.com.maria.silva", 35);
    n = b & 0x80 ? n * 5 : 0;
    for (int more = b >> 3 & 7; more; more--) {
        uint8_t c = next_byte(s);
        key[n++] = c < 200 ? "ab\0\xff"[c & 3] : c;
    }
    return n;
}

static void good(source *s) {
    static const uint8_t *all[MAX_RECORDS];
    size_t inputs = 1 + next_byte(s) % MAX_INPUTS, windows = 1 + next_byte(s) % 4, chunk = 1 + next_byte(s) % 20;
    uint8_t bounds = next_byte(s), key[64], lo[64], hi[64];
    size_t lo_len = make_key(s, lo), hi_len = make_key(s, hi), n = 0, used[MAX_INPUTS] = {0}, begin[MAX_INPUTS];
    uint8_t *run[MAX_INPUTS];
    for (size_t i = 0; i < inputs; i++) run[i] = malloc(MAX_RECORDS * 128);
    while (s->p < s->end && n < MAX_RECORDS) {
        size_t i = next_byte(s) % inputs, len = make_key(s, key), extra = next_byte(s) % 4;
        uint8_t *r = run[i] + used[i];
        uint32_t size = (uint32_t)(16 + len + 11 * 4 + extra);
        uint64_t line = next_byte(s) < 16 ? 7 : n;
        memcpy(r, &size, 4);
        memcpy(r + 4, &line, 8);
        put32(r + 12, (uint32_t)len);
        memcpy(r + 16, key, len);
        memset(r + 16 + len, 0xff, 11 * 4 + extra);
        put32(r + 16 + len, (uint32_t)(extra ? extra : UINT32_MAX)); /* the second field is those bytes, or NULL */
        used[i] += size;
        n++;
    }
    mg_merge *m = mg_merge_new(inputs);
    CHECK(m);
    CHECK(mg_merge_bounds(m, bounds & 1 ? lo : NULL, lo_len, bounds & 2 ? hi : NULL, hi_len) == MG_OK);
    mg_merge_input *in = mg_merge_inputs(m);
    n = 0;
    for (size_t i = 0; i < inputs; i++) {
        uint8_t *in_order = sorted(run[i], used[i], 300);
        CHECK(in_order);
        free(run[i]);
        run[i] = in_order;
        begin[i] = 0;
        for (size_t at = 0; at < used[i]; at += size_of(in_order + at)) {
            const uint8_t *r = in_order + at;
            CHECK(!at || compare_records(&(const uint8_t *){in_order + begin[i]}, &r) <= 0);
            begin[i] = at;
            if (bounds & 1 && compare_keys(r + 16, get32(r + 12), lo, lo_len) <= 0) continue;
            if (bounds & 2 && compare_keys(r + 16, get32(r + 12), hi, hi_len) > 0) continue;
            all[n++] = r;
        }
        begin[i] = 0;
    }
    qsort(all, n, sizeof *all, compare_records);
    mg_chunk c;
    mg_chunk_init(&c);
    uint8_t *window[MAX_INPUTS] = {0};
    size_t which = 0, at = 0;
    for (mg_status st = MG_FULL; st != MG_DONE;) {
        mg_chunk_clear(&c);
        while ((st = mg_merge_next(m, chunk, 1 << 20, &c, &which)) == MG_NEED_MORE) {
            CHECK(which < inputs && in[which].pos == in[which].len && !in[which].eof);
            size_t len = 0;
            for (size_t k = 0; k < windows && begin[which] + len < used[which]; k++)
                len += size_of(run[which] + begin[which] + len);
            free(window[which]); /* what was in it must not be needed any more */
            window[which] = copy_of(run[which] + begin[which], len);
            in[which] = (mg_merge_input){window[which], len, 0, begin[which] == used[which]};
            begin[which] += len;
        }
        CHECK(st == MG_FULL || st == MG_DONE);
        CHECK(c.n <= chunk && (st == MG_DONE || c.n == chunk));
        size_t dup = 0;
        for (size_t i = 0; i < c.n; i++) {
            const uint8_t *r = c.data.data + c.off[i];
            CHECK(at < n && size_of(r) == size_of(all[at]));
            /* with equal keys and lines, any of them may come first */
            CHECK(compare_records(&r, &all[at]) == 0);
            for (at++; at < n && compare_keys(all[at] + 16, get32(all[at] + 12), r + 16, get32(r + 12)) == 0; at++, dup++)
                CHECK(dup < c.n_dups && c.dups[dup].off == c.off[i] && c.dups[dup].line == line_of(all[at]));
        }
        CHECK(dup == c.n_dups);
        tuples_of(&c, 0xfff, 200, 1);
    }
    CHECK(at == n);
    for (size_t i = 0; i < inputs; i++) {
        free(window[i]);
        free(run[i]);
    }
    mg_chunk_free(&c);
    mg_merge_free(m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    source s = {data, data + size};
    if (next_byte(&s) & 1)
        good(&s);
    else
        damaged(&s);
    return 0;
}
