/* seen.c: an exact set of byte strings, made for e-mail addresses: about 26 bytes for an address of 22 when full,
 * 32 just after growing.
 *
 * Three things keep it small. A key is stored as its part before the last @ and the number of its domain, since
 * millions of addresses share few domains. Entries stand one behind the other in segments that never move. And the
 * table holds 5 bytes a place: where the entry stands and 8 bits of its hash, 12 places to a cache line, filled up to
 * 5/6. So looking up a new key costs one cache miss, and one that is there a second one for the comparison; in batches
 * they run side by side.
 *
 * Growth makes a new table from the entries, which hold all that is needed: no hashes are kept, nothing else moves. At
 * the peak there are the old table and the new one (6 and 13 bytes a key, later 6 and 10), never two copies of the keys.
 *
 * The hash is keyed by a secret seed, so that nobody can prepare a file whose keys collide. Equal hashes only cost time:
 * keys are compared byte by byte.
 *
 * Invariants: a domain gets a number when it is first seen, or never: when the table of domains is full it stays as it
 * is, and keys of other domains are stored whole. Thus equal keys always take the same form.
 * Limits: keys of 65,535 bytes, 4 GiB of entries (about 220 million addresses): MG_FULL beyond. Not for two threads at
 * once. */
#include "record.h"

#if defined(__SSE2__)
#include <immintrin.h>
#endif

#define PLACES 12u
#define FILL 10u                       /* keys a line on average, out of 12, before the table grows */
#define SEGMENT ((uint32_t)8 << 20)    /* the allocator asks for huge pages from this size on */
#define SEGMENTS 512u
/* The first one, once a set is past its first 4 KiB: address space that takes memory page by page as it is written to, since
 * it is too small to ask for huge pages. */
#define WHOLE_FIRST (SEGMENT - 4096u)
#define DOMAINS_MAX 65535u             /* fits in 2 bytes and keeps their table in the second-level cache */
#define WHOLE 0u                       /* the domain number of keys that are stored whole */
#define SEEDS 6u
#define AHEAD 32u /* a new table is filled so many keys behind the fetching of their lines */
#define GROUP 32u

typedef struct {
    uint8_t tag[PLACES];
    uint8_t used, passed; /* places taken; 1: a key found no place here and went on to the next line */
    uint8_t spare[2];
    uint32_t at[PLACES]; /* segment number * SEGMENT + offset */
} line;

typedef struct {
    uint32_t hash;
    uint32_t at; /* in domain_text, which has at most 65,535 times 65,535 bytes */
    uint16_t len;
    uint16_t number; /* 0: empty */
} domain_slot;

struct mg_seen {
    line *lines;
    size_t n_lines, count, limit;
    uint64_t seed[SEEDS];
    uint8_t *segment[SEGMENTS];
    uint32_t used[SEGMENTS], cap0; /* bytes taken in each; the first segment starts small */
    uint32_t n_segments;
    domain_slot *slots; /* twice as many as domains fit, a power of two */
    uint32_t slot_mask, n_domains, domain_cap;
    mg_buf domain_text;
};

/* ---- bytes ---- Addresses are short: what has up to 32 bytes is handled as four words, without a branch on its length
 * (which would be mispredicted every other time). `end` is the first byte that must not be read. */
#define SHORT 32u
typedef struct {
    uint64_t a, b, c, d;
} words;

static __attribute__((noinline)) words load_last_words(const uint8_t *p, size_t n) {
    words w = {0, 0, 0, 0};
    if (n) memcpy(&w, p, n);
    return w;
}

static inline words load_words(const uint8_t *p, size_t n, const uint8_t *end) { /* n <= SHORT; zeros behind them */
    static const uint8_t ones[2 * SHORT] = {255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
                                            255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255};
    const uint8_t *mask = ones + SHORT - n;
    if (MG_UNLIKELY(end - p < (ptrdiff_t)SHORT)) return load_last_words(p, n);
    return (words){mg_load64(p) & mg_load64(mask), mg_load64(p + 8) & mg_load64(mask + 8),
                   mg_load64(p + 16) & mg_load64(mask + 16), mg_load64(p + 24) & mg_load64(mask + 24)};
}

static inline int same_bytes(const uint8_t *x, const uint8_t *x_end, const uint8_t *y, const uint8_t *y_end, size_t n) {
    if (MG_UNLIKELY(n > SHORT)) return memcmp(x, y, n) == 0;
    words u = load_words(x, n, x_end), v = load_words(y, n, y_end);
    return ((u.a ^ v.a) | (u.b ^ v.b) | (u.c ^ v.c) | (u.d ^ v.d)) == 0;
}

static inline uint64_t fold(uint64_t a, uint64_t b) {
    unsigned __int128 m = (unsigned __int128)a * b;
    return (uint64_t)m ^ (uint64_t)(m >> 64);
}

/* Multiply-and-fold over 32 bytes at a time. Both factors of every product contain a secret, so nobody can choose bytes
 * that make one of them zero. */
static inline uint64_t hash_bytes(const uint64_t seed[SEEDS], const uint8_t *p, size_t n, const uint8_t *end,
                                  uint64_t salt) {
    uint64_t h = seed[0];
    size_t left = n;
    for (; MG_UNLIKELY(left > SHORT); left -= SHORT, p += SHORT)
        h = fold(mg_load64(p) ^ seed[1], mg_load64(p + 8) ^ h) ^
            fold(mg_load64(p + 16) ^ seed[4], mg_load64(p + 24) ^ h ^ seed[5]);
    words t = load_words(p, left, end);
    h = fold(t.a ^ seed[1], t.b ^ h) ^ fold(t.c ^ seed[4], t.d ^ h ^ seed[5]);
    return fold(h ^ seed[2], (salt << 32 | n) ^ seed[3]);
}

static uint64_t next_secret(uint64_t *x) { /* splitmix64 */
    uint64_t z = *x += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* ---- set-up ---- */
static line *new_lines(size_t n) {
    line *l = n <= UINT32_MAX ? mg_alloc(n * sizeof *l) : NULL;
    if (l) memset(l, 0, n * sizeof *l);
    return l;
}

mg_seen *mg_seen_new(size_t expected, uint64_t seed) {
    mg_seen *s = mg_alloc(sizeof *s);
    if (!s) return NULL;
    memset(s, 0, sizeof *s);
    for (unsigned i = 0; i < SEEDS; i++) s->seed[i] = next_secret(&seed) | 1;
    s->n_lines = expected / FILL + 2;
    s->limit = s->n_lines * FILL;
    s->lines = new_lines(s->n_lines);
    if (!s->lines) {
        mg_free(s);
        return NULL;
    }
    mg_buf_init(&s->domain_text);
    return s;
}

void mg_seen_free(mg_seen *s) {
    if (!s) return;
    for (uint32_t i = 0; i < s->n_segments; i++) mg_free(s->segment[i]);
    mg_free(s->lines);
    mg_free(s->slots);
    mg_buf_free(&s->domain_text);
    mg_free(s);
}

size_t mg_seen_count(const mg_seen *s) { return s->count; }

size_t mg_seen_bytes(const mg_seen *s) {
    size_t n = sizeof *s + s->n_lines * sizeof *s->lines + s->domain_text.cap;
    if (s->n_segments) n += s->cap0 < WHOLE_FIRST ? s->cap0 : (s->used[0] | 4095u) + (size_t)1;
    for (uint32_t i = 1; i < s->n_segments; i++) /* of the last one only the pages that were touched, 2 MiB each */
        n += i + 1 < s->n_segments ? SEGMENT : (s->used[i] | (((uint32_t)2 << 20) - 1)) + (size_t)1;
    if (s->slots) n += (s->slot_mask + (size_t)1) * sizeof *s->slots;
    return n;
}

/* ---- domains ---- */
static mg_status grow_domains(mg_seen *s) {
    uint32_t cap = s->domain_cap ? s->domain_cap * 2 : 64, mask = cap * 2 - 1;
    domain_slot *slots = mg_alloc((mask + (size_t)1) * sizeof *slots);
    if (!slots) return MG_NOMEM;
    memset(slots, 0, (mask + (size_t)1) * sizeof *slots);
    for (uint32_t i = 0; s->slots && i <= s->slot_mask; i++)
        if (s->slots[i].number) {
            uint32_t j = s->slots[i].hash & mask;
            while (slots[j].number) j = (j + 1) & mask;
            slots[j] = s->slots[i];
        }
    mg_free(s->slots);
    s->slots = slots;
    s->slot_mask = mask;
    s->domain_cap = cap;
    return MG_OK;
}

/* The slot of a domain: its own, or the empty one where it belongs. */
static inline domain_slot *domain_slot_of(const mg_seen *s, const uint8_t *p, size_t n, const uint8_t *end,
                                          uint32_t hash) {
    const uint8_t *text = s->domain_text.data, *text_end = text ? text + s->domain_text.cap : NULL;
    for (uint32_t j = hash & s->slot_mask;; j = (j + 1) & s->slot_mask) {
        domain_slot *slot = &s->slots[j];
        if (!slot->number) return slot;
        if (slot->hash == hash && slot->len == n && (n == 0 || same_bytes(text + slot->at, text_end, p, end, n)))
            return slot;
    }
}

/* ---- keys ---- */
typedef struct {
    const uint8_t *local, *end; /* no byte at or behind `end` may be read */
    uint32_t local_len, domain; /* bytes before the last @, and the domain's number; or WHOLE */
    uint64_t hash;
} split_key;

static inline size_t last_at_sign(const uint8_t *p, size_t n, const uint8_t *end) { /* n: there is none */
    size_t i = n;
#if defined(__SSE2__)
    if (MG_LIKELY(end - p >= 32)) {
        const __m128i sign = _mm_set1_epi8('@');
        for (;;) {
            size_t at = i > 32 ? i - 32 : 0;
            const __m128i *from = (const __m128i *)(const void *)(p + at);
            uint64_t m = (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_loadu_si128(from), sign));
            m |= (uint64_t)(uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_loadu_si128(from + 1), sign)) << 16;
            m &= ((uint64_t)1 << (i - at)) - 1;
            if (MG_LIKELY(m)) return at + (63u - (unsigned)__builtin_clzll(m));
            if (!at) return n;
            i = at;
        }
    }
#endif
    while (i)
        if (p[--i] == '@') return i;
    return n;
}

/* Splits and hashes. With `create`, a new domain gets a number. Returns 0 if memory ran out, or, without `create`, if
 * the key can't be in the set. */
static inline int split(mg_seen *s, const uint8_t *p, size_t n, const uint8_t *end, int create, split_key *k) {
    size_t at = last_at_sign(p, n, end);
    k->local = p;
    k->end = end;
    k->local_len = (uint32_t)n;
    k->domain = WHOLE;
    if (at < n) {
        const uint8_t *d = p + at + 1;
        size_t len = n - at - 1;
        uint32_t hash = (uint32_t)hash_bytes(s->seed, d, len, end, 0);
        domain_slot *slot = s->slots ? domain_slot_of(s, d, len, end, hash) : NULL;
        if (slot && slot->number) {
            k->domain = slot->number;
        } else if (s->n_domains < DOMAINS_MAX) {
            if (!create) return 0;
            if (s->n_domains == s->domain_cap) {
                if (grow_domains(s) != MG_OK) return 0;
                slot = domain_slot_of(s, d, len, end, hash);
            }
            uint32_t where = (uint32_t)s->domain_text.len;
            if (mg_buf_put(&s->domain_text, d, len) != MG_OK) return 0;
            *slot = (domain_slot){hash, where, (uint16_t)len, (uint16_t)++s->n_domains};
            k->domain = s->n_domains;
        }
        if (k->domain) k->local_len = (uint32_t)at;
    }
    k->hash = hash_bytes(s->seed, p, k->local_len, end, k->domain);
    return 1;
}

/* ---- entries: value, 4 bytes | domain number, 2 | bytes before the @, 1, or 255 and then 4 | those bytes ---- */
#define ENTRY_HEAD 11u /* at most */

typedef struct {
    const uint8_t *local;
    uint32_t local_len, domain;
} entry_key;

static inline entry_key read_entry(const uint8_t *e) {
    entry_key k = {e + 7, e[6], (uint32_t)e[4] | (uint32_t)e[5] << 8};
    if (MG_UNLIKELY(k.local_len == 255)) {
        k.local_len = mg_load32(k.local);
        k.local += 4;
    }
    return k;
}

static inline uint8_t *write_entry(uint8_t *e, const split_key *k, uint32_t value) { /* returns its end */
    memcpy(e, &value, 4);
    e[4] = (uint8_t)k->domain;
    e[5] = (uint8_t)(k->domain >> 8);
    e[6] = (uint8_t)(k->local_len < 255 ? k->local_len : 255);
    e += 7;
    if (MG_UNLIKELY(k->local_len >= 255)) {
        memcpy(e, &k->local_len, 4);
        e += 4;
    }
    if (MG_LIKELY(k->local_len <= SHORT && k->end - k->local >= (ptrdiff_t)SHORT))
        memcpy(e, k->local, SHORT); /* a fixed size is two moves; there is room for it */
    else
        memcpy(e, k->local, k->local_len);
    return e + k->local_len;
}

static inline const uint8_t *entry(const mg_seen *s, uint32_t at) { return s->segment[at / SEGMENT] + at % SEGMENT; }

static inline int entry_is(const uint8_t *e, const split_key *k) {
    entry_key x = read_entry(e);
    return x.domain == k->domain && x.local_len == k->local_len &&
           same_bytes(x.local, x.local + SHORT, k->local, k->end, x.local_len);
}

/* Room for one more entry of at most `need` bytes at the end of the last segment, and for SHORT more, so that entries may
 * be read and written so many bytes at a time. */
static mg_status make_room(mg_seen *s, uint32_t need) {
    need += SHORT;
    if (s->n_segments == 0) {
        s->segment[0] = mg_alloc(4096);
        if (!s->segment[0]) return MG_NOMEM;
        s->cap0 = 4096;
        s->n_segments = 1;
    }
    uint32_t last = s->n_segments - 1, used = s->used[last];
    if (need <= (last ? SEGMENT : s->cap0) - used) return MG_OK;
    if (last == 0 && s->cap0 < WHOLE_FIRST && need <= WHOLE_FIRST - used) {
        uint8_t *p = mg_realloc(s->segment[0], used, WHOLE_FIRST);
        if (!p) return MG_NOMEM;
        s->segment[0] = p;
        s->cap0 = WHOLE_FIRST;
        return MG_OK;
    }
    if (s->n_segments == SEGMENTS) return MG_FULL;
    uint8_t *p = mg_alloc(SEGMENT);
    if (!p) return MG_NOMEM;
    s->segment[s->n_segments++] = p;
    return MG_OK;
}

/* ---- table ---- */
static inline size_t home(size_t n_lines, uint64_t hash) { return (size_t)((hash >> 32) * n_lines >> 32); }

static inline unsigned same_tags(const line *l, uint8_t tag) {
#if defined(__SSE2__)
    __m128i v = _mm_loadu_si128((const __m128i *)(const void *)l);
    unsigned m = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(v, _mm_set1_epi8((char)tag)));
#else
    unsigned m = 0;
    for (unsigned i = 0; i < PLACES; i++) m |= (unsigned)(l->tag[i] == tag) << i;
#endif
    return m & ((1u << l->used) - 1);
}

static inline void place(line *lines, size_t n_lines, uint64_t hash, uint32_t at) {
    size_t i = home(n_lines, hash);
    while (lines[i].used == PLACES) {
        lines[i].passed = 1;
        if (++i == n_lines) i = 0;
    }
    line *l = &lines[i];
    l->tag[l->used] = (uint8_t)hash;
    l->at[l->used++] = at;
}

static mg_status grow(mg_seen *s) {
    /* By 2, and by 1.5 from 64 MiB on: fewer empty places and less beside the old table at the peak, but making a table
     * more often. (By 1.5 from 32 MiB on cost a sixth of the speed at 10 million.) */
    size_t n = s->n_lines < ((size_t)1 << 20) ? 2 * s->n_lines : s->n_lines + s->n_lines / 2;
    line *lines = new_lines(n);
    if (!lines) return MG_NOMEM;
    struct {
        uint64_t hash;
        uint32_t at;
    } ahead[AHEAD]; /* keys whose lines are on their way */
    size_t found = 0, placed = 0;
    for (uint32_t g = 0; g < s->n_segments; g++)
        for (uint32_t at = 0; at < s->used[g]; found++) {
            entry_key k = read_entry(s->segment[g] + at);
            uint64_t hash = hash_bytes(s->seed, k.local, k.local_len, k.local + k.local_len + SHORT, k.domain);
            if (found >= AHEAD) {
                place(lines, n, ahead[placed % AHEAD].hash, ahead[placed % AHEAD].at);
                placed++;
            }
            __builtin_prefetch(&lines[home(n, hash)], 1);
            ahead[found % AHEAD].hash = hash;
            ahead[found % AHEAD].at = g * SEGMENT + at;
            at = (uint32_t)(k.local - s->segment[g]) + k.local_len;
        }
    for (; placed < found; placed++) place(lines, n, ahead[placed % AHEAD].hash, ahead[placed % AHEAD].at);
    mg_free(s->lines);
    s->lines = lines;
    s->n_lines = n;
    s->limit = n * FILL;
    return MG_OK;
}

/* The entry of a key, or NULL. */
static inline const uint8_t *find(const mg_seen *s, const split_key *k) {
    for (size_t i = home(s->n_lines, k->hash);;) {
        const line *l = &s->lines[i];
        for (unsigned m = same_tags(l, (uint8_t)k->hash); m; m &= m - 1) {
            const uint8_t *e = entry(s, l->at[__builtin_ctz(m)]);
            if (entry_is(e, k)) return e;
        }
        if (!l->passed) return NULL;
        if (++i == s->n_lines) i = 0;
    }
}

static inline mg_status insert(mg_seen *s, const split_key *k, uint32_t value, uint32_t *first, int *added) {
    const uint8_t *old = find(s, k);
    *added = old == NULL;
    if (old) {
        memcpy(first, old, 4);
        return MG_OK;
    }
    mg_status st = s->count >= s->limit ? grow(s) : MG_OK;
    if (st == MG_OK) st = make_room(s, ENTRY_HEAD + k->local_len);
    if (st != MG_OK) return st;
    uint32_t g = s->n_segments - 1;
    uint8_t *e = s->segment[g] + s->used[g];
    place(s->lines, s->n_lines, k->hash, g * SEGMENT + s->used[g]);
    s->used[g] += (uint32_t)(write_entry(e, k, value) - e);
    s->count++;
    *first = value;
    return MG_OK;
}

mg_status mg_seen_add(mg_seen *s, const uint8_t *key, size_t n, uint32_t value, uint32_t *first, int *added) {
    split_key k;
    if (n > MG_KEY_MAX) return MG_CORRUPT;
    if (!split(s, key, n, key + n, 1, &k)) return MG_NOMEM;
    return insert(s, &k, value, first, added);
}

mg_status mg_seen_add_many(mg_seen *s, const uint8_t *p, const int64_t *off, size_t n, uint32_t base, uint32_t *first) {
    split_key k[3][GROUP];
    const uint8_t *end = p + (n ? off[n] : 0);
    for (size_t i = 0; i < n; i++)
        if (off[i] < 0 || off[i + 1] < off[i] || off[i + 1] - off[i] > (int64_t)MG_KEY_MAX) return MG_CORRUPT;
    /* Three groups are under way: while the lines of one are fetched, and for another the entries that will be compared,
     * the third goes in. */
    size_t groups = (n + GROUP - 1) / GROUP;
    for (size_t g = 0; g < groups + 2; g++) {
        for (size_t i = g * GROUP; i < n && i < (g + 1) * GROUP; i++) {
            split_key *key = &k[g % 3][i % GROUP];
            if (!split(s, p + off[i], (size_t)(off[i + 1] - off[i]), end, 1, key)) return MG_NOMEM;
            __builtin_prefetch(&s->lines[home(s->n_lines, key->hash)], 1);
        }
        for (size_t i = (g - 1) * GROUP; g >= 1 && i < n && i < g * GROUP; i++) {
            const split_key *key = &k[(g - 1) % 3][i % GROUP];
            const line *l = &s->lines[home(s->n_lines, key->hash)];
            unsigned same = same_tags(l, (uint8_t)key->hash);
            if (same) __builtin_prefetch(entry(s, l->at[__builtin_ctz(same)]));
        }
        for (size_t i = (g - 2) * GROUP; g >= 2 && i < n && i < (g - 1) * GROUP; i++) {
            int added;
            mg_status st = insert(s, &k[(g - 2) % 3][i % GROUP], base + (uint32_t)i, &first[i], &added);
            if (st != MG_OK) return st;
        }
    }
    return MG_OK;
}

int mg_seen_has(const mg_seen *s, const uint8_t *key, size_t n, uint32_t *value) {
    split_key k;
    if (n > MG_KEY_MAX || !split((mg_seen *)s, key, n, key + n, 0, &k)) return 0; /* without `create`, split changes nothing */
    const uint8_t *e = find(s, &k);
    if (e && value) memcpy(value, e, 4);
    return e != NULL;
}
