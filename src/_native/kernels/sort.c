/* sort.c: puts records into the order of their e-mail (bytes, shorter first: collation "C"), then of their line.
 *
 * What moves is a 16-byte item, not the record: 8 bytes of the key as a number, and where the record stands. Addresses
 * share long beginnings (john., maria.), so a comparison that went back to the record for every tie would miss the cache
 * log n times a record. Instead all ties of one level are refined together: each tied item fetches the next 8 bytes of
 * its key once, with the fetches running ahead of the work, and its group is sorted by them again. A record is visited
 * as many times as it has 8-byte words in common with another, whatever the number of records.
 *
 * Invariants: between levels the items form runs, and the `rest` of a run's first item holds its length; a tied run has
 * TIED set and its keys agree up to the level's depth. Every sort by number is stable.
 * Limits: 4 GiB of records at a time, keys of 64 KiB. Time is bounded by the bytes that keys have in common; no
 * recursion deeper than 8. */
#include "record.h"

#define TIED 0x80000000u
#define AHEAD 24 /* items; enough to cover a miss with the work of others */

static void insertion(mg_sort_item *a, size_t n) {
    for (size_t i = 1; i < n; i++) {
        mg_sort_item x = a[i];
        size_t j = i;
        for (; j > 0 && a[j - 1].prefix > x.prefix; j--) a[j] = a[j - 1];
        a[j] = x;
    }
}

/* Byte-wise radix sort from the last differing byte to the first. */
static void radix_up(mg_sort_item *a, mg_sort_item *tmp, size_t n, uint64_t differ) {
    uint32_t counts[8][256];
    unsigned shifts[8], passes = 0;
    for (unsigned s = 0; s < 64; s += 8)
        if (differ >> s & 0xff) shifts[passes++] = s;
    memset(counts, 0, passes * sizeof counts[0]);
    for (size_t i = 0; i < n; i++)
        for (unsigned k = 0; k < passes; k++) counts[k][a[i].prefix >> shifts[k] & 0xff]++;
    mg_sort_item *from = a, *to = tmp;
    for (unsigned k = 0; k < passes; k++) {
        uint32_t at = 0, *c = counts[k];
        for (unsigned b = 0; b < 256; b++) {
            uint32_t m = c[b];
            c[b] = at;
            at += m;
        }
        for (size_t i = 0; i < n; i++) to[c[from[i].prefix >> shifts[k] & 0xff]++] = from[i];
        mg_sort_item *t = from;
        from = to;
        to = t;
    }
    if (from != a) memcpy(a, tmp, n * sizeof *a);
}

/* Sorts by prefix, stable. tmp has room for n. Splits by the first differing byte until a part fits the second-level
 * cache; recursion uses up a byte each time. */
static void sort_numbers(mg_sort_item *a, mg_sort_item *tmp, size_t n) {
    if (n <= 24) {
        insertion(a, n);
        return;
    }
    uint64_t differ = 0;
    for (size_t i = 1; i < n; i++) differ |= a[i].prefix ^ a[0].prefix;
    if (!differ) return;
    if (n <= 32768) {
        radix_up(a, tmp, n, differ);
        return;
    }
    unsigned shift = (63u - (unsigned)__builtin_clzll(differ)) & ~7u;
    uint32_t counts[256] = {0}, ends[256];
    for (size_t i = 0; i < n; i++) counts[a[i].prefix >> shift & 0xff]++;
    uint32_t at = 0;
    for (unsigned b = 0; b < 256; b++) {
        ends[b] = at;
        at += counts[b];
    }
    for (size_t i = 0; i < n; i++) tmp[ends[a[i].prefix >> shift & 0xff]++] = a[i];
    memcpy(a, tmp, n * sizeof *a);
    for (unsigned b = 0; b < 256; b++)
        if (counts[b] > 1) sort_numbers(a + (ends[b] - counts[b]), tmp, counts[b]);
}

/* Marks the runs of a[0..n), which is sorted by prefix: tied ones, and between them runs of items in their place.
 * Returns whether there are ties. */
static int mark_runs(mg_sort_item *a, size_t n) {
    int ties = 0;
    size_t done = 0; /* first item of the open run of finished ones */
    for (size_t i = 0; i < n;) {
        size_t j = i + 1;
        while (j < n && a[j].prefix == a[i].prefix) j++;
        if (j - i > 1) {
            if (done < i) a[done].rest = (uint32_t)(i - done);
            a[i].rest = (uint32_t)(j - i) | TIED;
            done = j;
            ties = 1;
        }
        i = j;
    }
    if (done < n) a[done].rest = (uint32_t)(n - done);
    return ties;
}

/* Items whose keys are all used up and equal in every byte, zeros in place of those they lack: by length (they differ
 * only if keys end in NULs), then by line. */
static void order_equal(const uint8_t *p, mg_sort_item *a, mg_sort_item *tmp, size_t n) {
    uint64_t shorter = 0;
    for (size_t i = 0; i < n; i++) {
        a[i].prefix = mg_record_line(p + a[i].off);
        shorter |= mg_record_key_len(p + a[i].off) ^ mg_record_key_len(p + a[0].off);
    }
    sort_numbers(a, tmp, n);
    if (!shorter) return;
    for (size_t i = 0; i < n; i++) a[i].prefix = mg_record_key_len(p + a[i].off);
    sort_numbers(a, tmp, n);
}

/* Asks for the part of a record that refining at this depth will read. (The address may lie beyond a short record or
 * even the buffer: as an integer, so that no pointer is made there.) */
static inline void fetch(const uint8_t *r, uint32_t depth) {
    __builtin_prefetch(r + 12);
    __builtin_prefetch((const void *)((uintptr_t)r + MG_KEY_AT + depth));
}

/* One tied run, whose keys agree in their first `depth` bytes (again with zeros for what is behind an end). Keys that
 * end there come first. */
static int refine(const uint8_t *p, mg_sort_item *a, mg_sort_item *tmp, size_t n, uint32_t depth) {
    size_t ended = 0, going = 0;
    for (size_t i = 0; i < n; i++) {
        if (i + AHEAD < n) fetch(p + a[i + AHEAD].off, depth); /* nothing to ask for in short runs: the caller did */
        const uint8_t *r = p + a[i].off;
        uint32_t len = mg_record_key_len(r), off = a[i].off;
        if (len <= depth) {
            a[ended].off = off;
            ended++;
        } else {
            tmp[going].off = off;
            tmp[going].prefix = mg_key_word(r + MG_KEY_AT, len, depth);
            going++;
        }
    }
    if (ended) {
        order_equal(p, a, tmp + going, ended);
        a[0].rest = (uint32_t)ended;
    }
    if (!going) return 0;
    a += ended;
    memcpy(a, tmp, going * sizeof *a);
    sort_numbers(a, tmp, going);
    return mark_runs(a, going);
}

/* For walks over records in the order they stand in: a record's place is known only from the one before, so without this
 * every one of them is waited for. It took half of the time of sorting. */
static inline void fetch_ahead(const uint8_t *r, uint32_t size) {
    for (uint32_t line = 0; line < size && line < 512; line += 64)
        __builtin_prefetch((const void *)((uintptr_t)r + 2048 + line));
}

mg_status mg_sort_count(const uint8_t *p, size_t n, size_t *count) {
    size_t c = 0;
    for (size_t at = 0; at < n; c++) {
        uint32_t size, len;
        if (!mg_record_read(p + at, n - at, &size, &len)) return MG_CORRUPT;
        fetch_ahead(p + at, size);
        at += size;
    }
    *count = c;
    return MG_OK;
}

mg_status mg_sort_key(const uint8_t *p, size_t n, const uint8_t **key, size_t *key_len) {
    uint32_t size, len;
    if (!mg_record_read(p, n, &size, &len)) return MG_CORRUPT;
    *key = p + MG_KEY_AT;
    *key_len = len;
    return MG_OK;
}

mg_status mg_sort_records(const uint8_t *p, size_t n, size_t count, mg_sort_item *items, mg_sort_item *scratch) {
    if (n > UINT32_MAX || count > n / MG_KEY_AT) return MG_CORRUPT;
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        uint32_t size, len;
        if (!mg_record_read(p + at, n - at, &size, &len)) return MG_CORRUPT;
        fetch_ahead(p + at, size);
        items[i].prefix = mg_key_word(p + at + MG_KEY_AT, len, 0);
        items[i].off = (uint32_t)at;
        at += size;
    }
    if (at != n) return MG_CORRUPT;
    if (!count) return MG_OK;
    sort_numbers(items, scratch, count);
    int ties = mark_runs(items, count);
    for (uint32_t depth = 8; ties; depth += 8) {
        ties = 0;
        size_t i = 0, ahead = 0, ahead_end = 0, done = 0;
        int open = 0; /* is items[done] the first of a run of finished items that the next such run can join? */
        while (i < count) {
            uint32_t len = items[i].rest & ~TIED;
            if (!(items[i].rest & TIED)) {
                if (open)
                    items[done].rest += len;
                else
                    done = i, open = 1;
                i += len;
                continue;
            }
            /* `ahead` walks the tied items of this level some way in front of the work. Runs it has passed are not
             * yet refined, so their marks are still those of this level. */
            size_t until = i + (len < AHEAD ? len : AHEAD) + AHEAD;
            if (until > count) until = count;
            while (ahead < until) {
                if (ahead >= ahead_end) {
                    ahead_end = ahead + (items[ahead].rest & ~TIED);
                    if (!(items[ahead].rest & TIED)) {
                        ahead = ahead_end;
                        continue;
                    }
                }
                fetch(p + items[ahead].off, depth);
                ahead++;
            }
            ties |= refine(p, items + i, scratch, len, depth);
            open = 0;
            i += len;
            if (ahead < i) ahead = ahead_end = i; /* a long run, whose marks have changed */
        }
    }
    return MG_OK;
}

mg_status mg_sort_write(const uint8_t *p, size_t n, const mg_sort_item *items, size_t count, size_t *next, uint8_t *out,
                        size_t cap, size_t *made) {
    size_t i = *next, len = 0;
    mg_status st = i < count ? MG_OK : MG_DONE;
    for (; i < count; i++) {
        if (i + AHEAD < count) {
            uintptr_t r = (uintptr_t)p + items[i + AHEAD].off;
            __builtin_prefetch((const void *)r);
            __builtin_prefetch((const void *)(r + 64));
            __builtin_prefetch((const void *)(r + 128));
        }
        uint32_t size, key_len;
        /* asked again: the caller may have changed the records since they were sorted */
        if (items[i].off > n || !mg_record_read(p + items[i].off, n - items[i].off, &size, &key_len)) return MG_CORRUPT;
        if (size > cap - len) {
            st = MG_FULL;
            break;
        }
        memcpy(out + len, p + items[i].off, size);
        len += size;
    }
    *next = i;
    *made = len;
    return st;
}
