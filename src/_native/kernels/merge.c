/* merge.c: k sorted inputs -> one sorted stream of distinct keys, in chunks; equal keys are reported as duplicates.
 *
 * Neighbours in a sorted stream of addresses agree in most of their bytes, so heads of inputs compared from the start
 * would read the same long beginnings again at every step. Instead each head carries a code that says how it differs
 * from the record that left the tree last: at which symbol, and what its symbol there is (offset-value coding). The
 * head that agrees longer with that record is the smaller one; at the same place the smaller symbol decides. So most
 * matches of the loser tree are one comparison of integers; only equal codes go on to the keys, behind the part that is
 * known to agree. A code of 0 means "equal to the record that left last": duplicates cost nothing to find.
 *
 * A symbol is 5 bytes of the key (zeros behind its end) and a count of how many were there: 0 to 5 if the key ends in
 * them, 6 if it goes on. Symbols compare as keys do, and a count below 6 says that equal symbols mean equal keys.
 *
 * Invariants: a record that was put out is never looked for again, whatever status was returned in between: the step
 * that is left, `pending`, fetches its successor. Inputs must be sorted; one that is not is MG_CORRUPT.
 * Limits: keys of 64 KiB, chunks of 4 GiB. */
#include "record.h"

#define SYMBOL 5u
#define CODE_EQUAL 0u            /* below every other code */
#define CODE_END UINT64_MAX      /* above every other code: counts end at 6, so no code has all bits set */
#define NOBODY SIZE_MAX

typedef struct {
    const uint8_t *key; /* of the current record: in the window, or in `kept` when the window is used up */
    uint64_t line;
    const uint8_t *record;
    uint32_t key_len, size;
    int begun, parked; /* has had a record; its key is in `kept` */
    mg_buf kept;       /* MG_KEY_AT bytes of room, then the last key of the window before */
} lane;

struct mg_merge {
    size_t k, lanes; /* inputs; leaves of the tree: one more when there is an upper bound */
    mg_merge_input *inputs;
    lane *lane;
    uint64_t *code;
    uint32_t *loser; /* inner nodes 1 .. lanes-1; leaf j is node lanes+j */
    size_t winner;   /* NOBODY until the tree is built */
    size_t pending;  /* the lane whose next record is wanted; while the tree is not built, the next to be filled */
    int started, bounded;
    mg_buf lo;
};

mg_merge *mg_merge_new(size_t inputs) {
    if (inputs > (1u << 20)) return NULL;
    size_t n = inputs + 1; /* one more for the upper bound */
    mg_merge *m = mg_alloc(sizeof *m);
    if (!m) return NULL;
    memset(m, 0, sizeof *m);
    m->k = m->lanes = inputs;
    m->inputs = mg_alloc(n * sizeof *m->inputs);
    m->lane = mg_alloc(n * sizeof *m->lane);
    m->code = mg_alloc(n * sizeof *m->code);
    m->loser = mg_alloc(n * sizeof *m->loser);
    if (m->inputs) memset(m->inputs, 0, n * sizeof *m->inputs);
    if (m->lane) memset(m->lane, 0, n * sizeof *m->lane);
    if (!m->inputs || !m->lane || !m->code || !m->loser) {
        mg_merge_free(m);
        return NULL;
    }
    mg_buf_init(&m->lo);
    m->winner = NOBODY;
    return m;
}

void mg_merge_free(mg_merge *m) {
    if (!m) return;
    if (m->lane)
        for (size_t i = 0; i <= m->k; i++) mg_buf_free(&m->lane[i].kept);
    mg_buf_free(&m->lo);
    mg_free(m->inputs);
    mg_free(m->lane);
    mg_free(m->code);
    mg_free(m->loser);
    mg_free(m);
}

mg_merge_input *mg_merge_inputs(mg_merge *m) { return m->inputs; }

/* The i-th symbol of a key, in 48 bits. */
static inline uint64_t symbol(const uint8_t *key, uint32_t len, uint32_t i) {
    uint32_t at = i * SYMBOL, left = len - at;
    return mg_key_word(key, len, at) >> 24 << 8 | (left > SYMBOL ? SYMBOL + 1 : left);
}

static inline uint64_t code_at(const uint8_t *key, uint32_t len, uint32_t i) {
    return (uint64_t)(0xFFFFu - i) << 48 | symbol(key, len, i);
}

/* Puts a copy of the key where it outlives the window. */
static mg_status keep(lane *l, const uint8_t *key, uint32_t len) {
    l->kept.len = 0;
    mg_status st = mg_buf_reserve(&l->kept, MG_KEY_AT + (size_t)len);
    if (st != MG_OK) return st;
    memset(l->kept.data, 0, MG_KEY_AT);
    if (len) memcpy(l->kept.data + MG_KEY_AT, key, len);
    l->key = l->kept.data + MG_KEY_AT;
    l->key_len = len;
    l->parked = 1;
    return MG_OK;
}

mg_status mg_merge_bounds(mg_merge *m, const uint8_t *lo, size_t lo_len, const uint8_t *hi, size_t hi_len) {
    if (m->started || lo_len > MG_KEY_MAX || hi_len > MG_KEY_MAX) return MG_CORRUPT;
    m->lanes = m->k;
    m->bounded = 0;
    m->lo.len = 0;
    if (lo) {
        mg_status st = mg_buf_put(&m->lo, lo, lo_len);
        if (st != MG_OK) return st;
        m->bounded = 1;
    }
    if (hi) { /* takes part as one more input, whose only record loses against its equals and ends the merge */
        lane *l = &m->lane[m->k];
        mg_status st = keep(l, hi, (uint32_t)hi_len);
        if (st != MG_OK) return st;
        l->line = UINT64_MAX;
        m->code[m->k] = code_at(l->key, l->key_len, 0);
        m->lanes = m->k + 1;
    }
    return MG_OK;
}

static int up_to(const uint8_t *key, uint32_t len, const mg_buf *bound) {
    size_t least = len < bound->len ? len : bound->len;
    int c = least ? memcmp(key, bound->data, least) : 0;
    return c < 0 || (c == 0 && len <= bound->len);
}

/* The code of key b against key a <= b, or CODE_END if b < a. */
static inline uint64_t code_against(const uint8_t *a, uint32_t a_len, const uint8_t *b, uint32_t b_len) {
    uint32_t at = 0, least = a_len < b_len ? a_len : b_len;
    for (;; at += 8) {
        if (at >= least) {
            at = least;
            break;
        }
        /* words may show bytes behind the shorter key's end as zeros: the minimum below puts that right */
        uint64_t x = mg_key_word(a, a_len, at) ^ mg_key_word(b, b_len, at);
        if (x) {
            at += (uint32_t)__builtin_clzll(x) >> 3;
            if (at > least) at = least;
            break;
        }
    }
    if (at < least) return b[at] < a[at] ? CODE_END : code_at(b, b_len, at / SYMBOL);
    if (a_len == b_len) return CODE_EQUAL;
    if (b_len < a_len) return CODE_END;
    return code_at(b, b_len, a_len ? (a_len - 1) / SYMBOL : 0); /* the symbol in which a ends and b goes on */
}

/* Makes the next record of input w current. Nothing is changed unless MG_OK, except that on MG_NEED_MORE the last key
 * is put aside. */
static mg_status advance(mg_merge *m, size_t w) {
    mg_merge_input *in = &m->inputs[w];
    lane *l = &m->lane[w];
    for (;;) {
        if (in->pos >= in->len) {
            if (in->eof) {
                m->code[w] = CODE_END;
                return MG_OK;
            }
            if (l->begun && !l->parked) {
                mg_status st = keep(l, l->key, l->key_len);
                if (st != MG_OK) return st;
            }
            return MG_NEED_MORE;
        }
        const uint8_t *r = in->p + in->pos, *key = r + MG_KEY_AT;
        uint32_t size, len;
        if (!mg_record_read(r, in->len - in->pos, &size, &len)) return MG_CORRUPT;
        uint64_t code = code_at(key, len, 0), line = mg_record_line(r);
        int skipped = m->winner == NOBODY; /* whatever came before was at or below the lower bound */
        if (l->begun) {
            uint64_t against = code_against(l->key, l->key_len, key, len);
            if (against == CODE_END || (against == CODE_EQUAL && line < l->line)) return MG_CORRUPT;
            if (!skipped) code = against;
        }
        l->record = r;
        l->size = size;
        l->key = key;
        l->key_len = len;
        l->line = line;
        l->begun = 1;
        l->parked = 0;
        in->pos += size;
        if (m->bounded && skipped && up_to(key, len, &m->lo)) continue;
        m->code[w] = code;
        return MG_OK;
    }
}

/* Plays a against b, whose codes are equal: the one that is smaller, and the other's code against it. */
static size_t tie(mg_merge *m, size_t a, size_t b) {
    uint64_t code = m->code[a];
    if (code == CODE_END) return a;
    const lane *x = &m->lane[a], *y = &m->lane[b];
    if (code != CODE_EQUAL)
        for (uint32_t i = 0xFFFFu - (uint32_t)(code >> 48); (code & 0xff) > SYMBOL;) {
            i++;
            uint64_t cx = code_at(x->key, x->key_len, i), cy = code_at(y->key, y->key_len, i);
            if (cx != cy) {
                m->code[cx < cy ? b : a] = cx < cy ? cy : cx;
                return cx < cy ? a : b;
            }
            code = cx;
        }
    size_t first = x->line != y->line ? (x->line < y->line ? a : b) : (a < b ? a : b);
    m->code[first == a ? b : a] = CODE_EQUAL;
    return first;
}

static inline size_t play(mg_merge *m, size_t a, size_t b) {
    uint64_t x = m->code[a], y = m->code[b];
    if (MG_UNLIKELY(x == y)) return tie(m, a, b);
    return x < y ? a : b;
}

static size_t build(mg_merge *m, size_t node) {
    if (node >= m->lanes) return node - m->lanes;
    size_t a = build(m, 2 * node), b = build(m, 2 * node + 1), w = play(m, a, b);
    m->loser[node] = (uint32_t)(w == a ? b : a);
    return w;
}

/* Sends lane w's new record up to the root. Who wins is as good as random, so the choice is made without a branch. */
static void replay(mg_merge *m, size_t w) {
    const uint64_t *code = m->code;
    uint64_t mine = code[w];
    for (size_t node = (m->lanes + w) / 2; node; node /= 2) {
        size_t other = m->loser[node];
        uint64_t theirs = code[other];
        if (MG_UNLIKELY(mine == theirs)) {
            size_t up = tie(m, w, other);
            m->loser[node] = (uint32_t)(up == w ? other : w);
            w = up;
            mine = code[w];
            continue;
        }
        size_t swap = (size_t)0 - (theirs < mine), change = (w ^ other) & swap;
        m->loser[node] = (uint32_t)(other ^ change);
        w ^= change;
        mine ^= (mine ^ theirs) & (uint64_t)swap;
    }
    m->winner = w;
}

static mg_status start(mg_merge *m, size_t *which) {
    m->started = 1;
    for (; m->pending < m->k; m->pending++) {
        mg_status st = advance(m, m->pending);
        if (st != MG_OK) {
            *which = m->pending;
            return st;
        }
    }
    m->pending = NOBODY;
    m->winner = m->lanes ? build(m, 1) : 0;
    return MG_OK;
}

static mg_status add_record(mg_chunk *c, const lane *l) {
    if (c->n == c->cap) {
        size_t cap = c->cap ? 2 * c->cap : 1024;
        uint32_t *off = mg_realloc(c->off, c->n * sizeof *off, cap * sizeof *off);
        if (!off) return MG_NOMEM;
        c->off = off;
        c->cap = cap;
    }
    size_t at = c->data.len;
    mg_status st = mg_buf_put(&c->data, l->record, l->size);
    if (st == MG_OK) c->off[c->n++] = (uint32_t)at;
    return st;
}

static mg_status add_duplicate(mg_chunk *c, uint64_t line) {
    if (!c->n) return MG_CORRUPT; /* the caller emptied the chunk before it was full */
    if (c->n_dups == c->cap_dups) {
        size_t cap = c->cap_dups ? c->cap_dups + c->cap_dups / 2 : 64;
        mg_duplicate *d = mg_realloc(c->dups, c->n_dups * sizeof *d, cap * sizeof *d);
        if (!d) return MG_NOMEM;
        c->dups = d;
        c->cap_dups = cap;
    }
    c->dups[c->n_dups++] = (mg_duplicate){.line = line, .off = c->off[c->n - 1]};
    return MG_OK;
}

mg_status mg_merge_next(mg_merge *m, size_t max_records, size_t max_bytes, mg_chunk *out, size_t *which) {
    if (max_bytes > UINT32_MAX) max_bytes = UINT32_MAX; /* offsets have 32 bits */
    if (m->winner == NOBODY) {
        mg_status st = start(m, which);
        if (st != MG_OK) return st;
    }
    if (!m->lanes) return MG_DONE;
    for (;;) {
        if (m->pending != NOBODY) {
            mg_status st = advance(m, m->pending);
            if (st != MG_OK) {
                *which = m->pending;
                return st;
            }
            replay(m, m->pending);
            m->pending = NOBODY;
        }
        size_t w = m->winner;
        const lane *l = &m->lane[w];
        mg_status st;
        if (m->code[w] == CODE_END || w == m->k) return MG_DONE;
        if (m->code[w] == CODE_EQUAL) {
            if (out->n_dups >= MG_CHUNK_DUPS) return MG_DRAIN;
            st = add_duplicate(out, l->line);
        } else {
            /* a whole chunk, or a record that does not fit behind those that are there; one alone always fits */
            if (out->n && (out->n >= max_records || out->data.len >= max_bytes || l->size > max_bytes - out->data.len))
                return MG_FULL;
            st = add_record(out, l);
        }
        if (st != MG_OK) return st;
        m->pending = w;
    }
}

void mg_chunk_init(mg_chunk *c) { memset(c, 0, sizeof *c); }

void mg_chunk_clear(mg_chunk *c) { c->data.len = c->n = c->n_dups = 0; }

void mg_chunk_free(mg_chunk *c) {
    mg_buf_free(&c->data);
    mg_free(c->off);
    mg_free(c->dups);
    mg_chunk_init(c);
}
