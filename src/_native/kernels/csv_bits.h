/* csv_bits.h: bytes to bitmaps, the first stage of csv_body.h, once per instruction set. Included by it.
 *
 * A chunk of 2 KiB becomes one bit a byte: compare with each special byte, exclusive-or the quotes from the left (a bit of
 * `inside` is then set from an opening quote up to its closing one), drop what is inside. All quotes are checked against
 * RFC 4180 on the way: an opening one follows a boundary (the start of a field) or, as the second half of a doubled
 * quote, a closing one; behind a closing one stands a boundary or an opening one. While that holds the bitmaps say what
 * the automaton in csv.c would say; at the first quote that breaks the rule they end.
 * An LF ends a line, with or without CR before it; a CR that no LF follows does too. Chunks are first read as if there
 * were no CR, which costs a third less; if there was one, once more, and the next at once in that way.
 */
#include "csv_run.h"

#include <string.h>

#define MG_JOIN2(a, b) a##b
#define MG_JOIN(a, b) MG_JOIN2(a, b)
#define MG_NAME(a) MG_JOIN(a, MG_SUFFIX)

enum { BLOCKS = 32, CHUNK = 64 * BLOCKS, AHEAD = 4096 };
enum { BLANKS = 1, DOUBLED = 2 };

typedef struct {
    mg_splat delimiter, quote, lf, cr, blank, fold;
    uint64_t quotes; /* all ones, or 0: the dialect has none */
    int trim;
} needles;

/* What the blocks of a chunk hold, before quotes are understood. One block more than there are, for a look ahead. */
typedef struct {
    uint64_t delimiter[BLOCKS], quote[BLOCKS], blank[BLOCKS];
    uint64_t lf[BLOCKS + LANES], cr[BLOCKS];
} raw;

typedef struct {
    uint64_t boundary[BLOCKS];  /* delimiters and line ends outside quotes */
    uint64_t line[BLOCKS];      /* line ends outside quotes: ends of records, empty ones included */
    uint64_t all_lines[BLOCKS]; /* and those inside */
    uint64_t quoted[BLOCKS];    /* boundaries right behind a closing quote */
    uint64_t empty[BLOCKS];     /* where a line ends that has nothing on it */
    uint64_t bad[BLOCKS];       /* quotes that break the rule, each at the byte that shows it */
    uint32_t blanks, doubled;   /* bit j: block j has spaces at a boundary, or the second of two quotes */
    int any_bad, any_empty;
} bitmaps;

/* What one chunk leaves for the next. */
typedef struct {
    mg_word boundary, closing, blank, line;
    unsigned open;
} carry;

static inline needles needles_of(const mg_csv_dialect *d) {
    needles k = {.delimiter = splat(d->delimiter), .quote = splat(d->quote), .lf = splat('\n'), .cr = splat('\r')};
    /* Space and tab in one comparison: folded with 0x29 both are 0x29. So are ! ( ) and four controls: then a row is
     * looked at in vain. With tab for a delimiter that would be every row. */
    k.fold = splat(d->delimiter == '\t' ? 0 : 0x29);
    k.blank = splat(d->delimiter == '\t' ? ' ' : 0x29);
    k.quotes = d->quote ? ~(uint64_t)0 : 0;
    k.trim = d->trim;
    return k;
}

static inline carry carry_at_start(void) {
    carry c = {.boundary = word_top(), .closing = word_zero(), .blank = word_zero(), .line = word_top(), .open = 0};
    return c;
}

/* Asks for what comes in AHEAD bytes. Not left to the processor: in virtual machines that scan at a third of the speed. */
static inline void ahead(const uint8_t *p) { __builtin_prefetch((const void *)((uintptr_t)p + AHEAD)); }

static inline __attribute__((always_inline)) uint64_t compare_block(raw *x, size_t j, mg_block b, const needles *k,
                                                                    const int blanks, const int with_cr) {
    uint64_t cr;
    x->delimiter[j] = equal64(b, k->delimiter);
    x->quote[j] = equal64(b, k->quote) & k->quotes;
    x->lf[j] = equal64(b, k->lf);
    if (with_cr)
        x->cr[j] = cr = equal64(b, k->cr);
    else
        cr = any64(b, k->cr);
    if (blanks) x->blank[j] = equal64(fold64(b, k->fold), k->blank);
    return cr;
}

/* Compares up to BLOCKS blocks of p[i..n). Returns not 0 if there are CRs. `more`: p[n..) is not known yet. */
static inline __attribute__((always_inline)) uint64_t compare(raw *x, const uint8_t *p, size_t i, size_t n, int more,
                                                              const needles *k, const int blanks, const int with_cr) {
    uint64_t cr = 0;
    size_t j = 0, whole = (n - i) / 64;
    const uint8_t *at = p + i;
    for (size_t end = whole < BLOCKS ? whole : BLOCKS; j < end; j++, at += 64) {
        ahead(at);
        cr |= compare_block(x, j, load64(at), k, blanks, with_cr);
    }
    x->lf[j] = j == BLOCKS && n - i > CHUNK && *at == '\n';
    if (j == BLOCKS && n - i > CHUNK) return cr;
    if (j < BLOCKS && n - i > 64 * whole) { /* the last bytes of the input, with zeros behind them */
        uint8_t tail[64] = {0};
        memcpy(tail, at, n - i - 64 * whole);
        cr |= compare_block(x, j, load64(tail), k, blanks, with_cr);
        x->delimiter[j] &= ((uint64_t)1 << (n - i) % 64) - 1; /* NUL may be one */
        x->quote[j] &= ((uint64_t)1 << (n - i) % 64) - 1;
        j++;
    }
    /* Whether a CR in the very last byte ends a line is not known yet: its record is left open. */
    if (with_cr && more && j) x->cr[j - 1] &= ~((uint64_t)1 << (n - i - 1) % 64);
    for (; j % LANES; j++) {
        x->delimiter[j] = x->quote[j] = x->lf[j] = x->blank[j] = 0;
        if (with_cr) x->cr[j] = 0;
    }
    x->lf[j] = 0;
    return cr;
}

/* Bitmaps of the first `blocks` blocks. */
static inline __attribute__((always_inline)) void understand(bitmaps *m, const raw *x, size_t blocks, carry *c,
                                                             const needles *k, const int fields, const int with_cr) {
    carry s = *c;
    mg_word any_bad = word_zero(), any_empty = word_zero();
    m->blanks = m->doubled = 0;
    for (size_t j = 0; j < blocks; j += LANES) {
        mg_word quote = word_load(x->quote + j), lf = word_load(x->lf + j), lines = lf, ends_at;
        mg_word inside = word_inside(quote, &s.open);
        mg_word cr = word_zero(), crlf = word_zero();
        if (with_cr) {
            cr = word_load(x->cr + j);
            crlf = word_and(cr, word_ahead(lf, word_load(x->lf + j + 1)));
            lines = word_or(lf, word_less(cr, crlf));
        }
        mg_word line = word_less(lines, inside);
        mg_word boundary = word_less(word_or(lines, word_load(x->delimiter + j)), inside);
        mg_word opening = word_and(quote, inside), closing = word_less(quote, inside);
        mg_word behind = word_behind(boundary, s.boundary), closed = word_behind(closing, s.closing);
        ends_at = with_cr ? word_or(boundary, crlf) : boundary;
        /* Openings not behind a boundary and closings with none behind them must be the same places: doubled quotes. */
        mg_word bad = word_xor(word_less(opening, behind), word_less(closed, ends_at));
        word_store(m->boundary + j, boundary);
        word_store(m->line + j, line);
        word_store(m->bad + j, bad);
        any_bad = word_or(any_bad, bad);
        s.boundary = boundary;
        s.closing = closing;
        if (fields) {
            word_store(m->all_lines + j, lines);
            word_store(m->quoted + j, word_and(boundary, closed));
            m->doubled |= word_blocks(word_and(opening, closed)) << j;
            if (k->trim) {
                mg_word blank = word_load(x->blank + j);
                mg_word trim = word_or(word_and(blank, behind), word_and(word_behind(blank, s.blank), ends_at));
                m->blanks |= word_blocks(trim) << j;
                s.blank = blank;
            }
        } else {
            mg_word empty = word_and(word_behind(line, s.line), word_or(lf, cr));
            word_store(m->empty + j, empty);
            any_empty = word_or(any_empty, empty);
            s.line = line;
        }
    }
    m->any_bad = word_blocks(any_bad) != 0;
    m->any_empty = word_blocks(any_empty) != 0;
    *c = s;
}

/* How many blocks the input has from i on, up to a chunk. */
static inline size_t blocks_from(size_t i, size_t n) { return n - i >= CHUNK ? BLOCKS : (n - i + 63) / 64; }

/* The first bad block, and which of its bits are before what is bad; `blocks` if there is none. */
static inline size_t first_bad(const bitmaps *m, size_t blocks, size_t i, size_t n, uint64_t *good) {
    for (size_t j = 0; j < blocks; j++) {
        uint64_t bad = m->bad[j];
        if (j + 1 == blocks && n - i < 64 * blocks) bad &= ((uint64_t)1 << (n - i) % 64) - 1; /* not behind the input */
        if (bad) {
            *good = (bad & -bad) - 1;
            return j;
        }
    }
    return blocks;
}

void MG_NAME(mg_csv_shape_)(const mg_csv_dialect *d, const uint8_t *p, size_t n, mg_csv_shape *out) {
    const needles k = needles_of(d);
    carry c = carry_at_start();
    raw x;
    bitmaps m;
    uint64_t records = 0, fields = 0, good, with_cr = 0, last = 0;
    int strict = 1;
    for (size_t i = 0; i < n; i += CHUNK) {
        size_t blocks = blocks_from(i, n);
        if (!with_cr) {
            with_cr = compare(&x, p, i, n, 0, &k, 0, 0);
            if (!with_cr) understand(&m, &x, blocks, &c, &k, 0, 0);
        }
        if (with_cr) {
            with_cr = compare(&x, p, i, n, 0, &k, 0, 1);
            understand(&m, &x, blocks, &c, &k, 0, 1);
        }
        for (size_t j = 0; j < blocks; j++) {
            records += popcount64(m.line[j]);
            fields += popcount64(m.boundary[j]);
        }
        for (size_t j = 0; m.any_empty && j < blocks; j++) {
            records -= popcount64(m.empty[j]);
            fields -= popcount64(m.empty[j]);
        }
        if (m.any_bad && first_bad(&m, blocks, i, n, &good) < blocks) strict = 0;
        last = !(m.line[blocks - 1] >> (n - i - 1) % 64 & 1); /* in the last chunk: a record without line end */
    }
    out->records = records + last;
    out->fields = fields + last;
    out->strict = strict;
    out->open = (int)c.open;
}
