/* csv_body.h: the mask scanner, once per instruction set. Included behind a simd header.
 *
 * Stage one turns 2 KiB into bitmaps, one bit a byte: compare with each special byte, exclusive-or the quotes from the left
 * (a bit of `inside` is then set from an opening quote up to its closing one), drop what is inside. All quotes are checked
 * against RFC 4180 on the way: an opening one follows a boundary (the start of a field) or, as the second half of a
 * doubled quote, a closing one; behind a closing one stands a boundary or an opening one. While that holds the bitmaps say
 * what the automaton in csv.c would say. The first quote that breaks the rule ends the run: records before it are kept,
 * its own goes to the automaton, and the scanner starts afresh behind it, outside of quotes, on any byte.
 * Stage two writes a field for every boundary, without asking what kind it is, and notes where records end; a third loop
 * makes rows of the notes. Rows that may need their fields touched up (spaces to trim, doubled quotes to flag) are known
 * from the bitmaps. An LF ends a line, with or without CR before it; a CR that no LF follows does too. Chunks are first
 * read as if there were no CR, which costs a third less; if there was one, once more, and the next at once in that way.
 *
 * Short loops over small arrays, because one loop over everything needs more registers than there are: half the speed.
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
#if !defined(MG_SIMD_NONE)
    if (blanks) x->blank[j] = equal64(fold64(b, k->fold), k->blank);
#endif
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
#if !defined(MG_SIMD_NONE)
            if (k->trim) {
                mg_word blank = word_load(x->blank + j);
                mg_word trim = word_or(word_and(blank, behind), word_and(word_behind(blank, s.blank), ends_at));
                m->blanks |= word_blocks(trim) << j;
                s.blank = blank;
            }
#endif
        } else {
            mg_word empty = word_and(word_behind(line, s.line), word_or(lf, cr));
            word_store(m->empty + j, empty);
            any_empty = word_or(any_empty, empty);
            s.line = line;
        }
    }
#if defined(MG_SIMD_NONE)
    if (k->trim) m->blanks = ~(uint32_t)0; /* one more bitmap costs more than a look at the ends of every field */
#endif
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

/* The end of a record: its line end, the index behind its last field, the number of lines up to and with it. */
typedef struct {
    uint32_t end, fields, lines, touch;
} note;

/* Writes one field for each bit of `boundary`; `start` is where the first of them starts. Up to 64 are written, and some
 * behind them may be spoilt. */
static inline void put_fields(mg_field *out, uint64_t boundary, uint64_t quoted, uint32_t at, uint32_t start) {
#if defined(MG_SIMD_COMPRESS)
    static const uint8_t order[64] = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21,
                                      22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43,
                                      44, 45, 46, 47, 48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, 63};
    const __m512i low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    const __m512i high = _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
    const __m512i one = _mm512_set1_epi32(1), shrink = _mm512_set1_epi32((int)(MG_FIELD_QUOTED - 2));
    __m512i bytes = _mm512_maskz_compress_epi8(boundary, _mm512_loadu_si512(order));
    __m512i before = _mm512_set1_epi32((int)(start - 1));
    int left = (int)popcount64(boundary);
    quoted = _pext_u64(quoted, boundary);
    for (;;) { /* sixteen at a time, nearly always once */
        __m512i end = _mm512_add_epi32(_mm512_cvtepu8_epi32(_mm512_castsi512_si128(bytes)), _mm512_set1_epi32((int)at));
        __m512i off = _mm512_add_epi32(_mm512_alignr_epi32(end, before, 15), one);
        __m512i len = _mm512_sub_epi32(end, off);
        off = _mm512_mask_add_epi32(off, (__mmask16)quoted, off, one);
        len = _mm512_mask_add_epi32(len, (__mmask16)quoted, len, shrink);
        _mm512_storeu_si512(out, _mm512_permutex2var_epi32(off, low, len));
        _mm512_storeu_si512(out + 8, _mm512_permutex2var_epi32(off, high, len));
        if ((left -= 16) <= 0) break;
        before = end;
        bytes = _mm512_alignr_epi64(bytes, bytes, 2);
        quoted >>= 16;
        out += 16;
    }
#else
    const uint64_t top = (uint64_t)1 << 63; /* keeps the count of zeros defined when no bit is left */
    uint64_t left = boundary;
    do {
        for (int k = 0; k < 8; k++) { /* eight, there or not; what is beyond the last is written over later */
            unsigned bit = (unsigned)__builtin_ctzll(left | top);
            uint32_t end = at + bit, q = (uint32_t)(quoted >> bit) & 1;
            mg_field f = {start + q, end - start + q * (MG_FIELD_QUOTED - 2)};
            out[k] = f;
            start = end + 1;
            left &= left - 1;
        }
        out += 8;
    } while (left);
#endif
}

/* Trims and flags the fields of a row in which the bitmaps saw something to do. */
static void touch_up(const mg_csv_run *r, mg_field *f, uint32_t count, uint32_t what) {
    const uint8_t *p = r->p;
    const mg_csv_dialect *d = &r->s->dialect;
    for (; count--; f++) {
        uint32_t len = f->len & MG_FIELD_LEN;
        if (f->len & MG_FIELD_QUOTED) {
            if (what & DOUBLED && len && memchr(p + f->off, d->quote, len)) f->len |= MG_FIELD_ESCAPED;
        } else if (what & BLANKS) {
            uint8_t tab = d->delimiter == '\t' ? ' ' : '\t';
            while (len && (p[f->off] == ' ' || p[f->off] == tab)) f->off++, len--;
            while (len && (p[f->off + len - 1] == ' ' || p[f->off + len - 1] == tab)) len--;
            f->len = len;
        }
    }
}

/* Where the rows stand between chunks. */
typedef struct {
    size_t start;   /* of the record that is open */
    uint32_t field; /* its first */
    uint32_t lines; /* before it, from where the run began */
    int stop;       /* the next record is not for us, or out is full */
} rows_state;

static inline void put_rows(mg_csv_run *r, rows_state *s, const note *notes, size_t count, uint32_t limit) {
    mg_batch *out = r->out;
    const uint8_t *p = r->p;
    const uint64_t line = r->s->line;
    const uint32_t max_columns = r->s->dialect.max_columns;
    for (size_t k = 0; k < count; k++) {
        const note *e = &notes[k];
        uint32_t len = e->end - (uint32_t)s->start, fields = e->fields - s->field;
        mg_field *last = &out->fields[e->fields - 1];
        if (len > limit || fields > max_columns || out->n_rows == r->max_rows) {
            s->stop = 1;
            return;
        }
        if (len && p[e->end - 1] == '\r') { /* CRLF: the last field reaches up to the LF so far */
            uint32_t plain = last->len - 1;
            len--;
            if (plain && r->s->dialect.quote && p[last->off] == r->s->dialect.quote) {
                last->off++;
                last->len = (plain - 2) | MG_FIELD_QUOTED;
            } else
                last->len = plain;
        }
        if (e->touch) touch_up(r, &out->fields[s->field], fields, e->touch);
        if (fields > 1 || last->len) {
            mg_row *row = &out->rows[out->n_rows++];
            row->line = line + s->lines;
            row->field = s->field;
            row->count = fields;
            row->off = (uint32_t)s->start;
            row->len = len;
            row->error = 0;
            row->column = 0;
        }
        s->start = (size_t)e->end + 1;
        s->field = e->fields;
        s->lines = e->lines;
    }
}

/* Where the masks stand between chunks. */
typedef struct {
    uint32_t field, start, lines;
    uint32_t touch; /* the open record has something to touch up */
} masks_state;

/* The fields of the chunk that begins at p[at]. */
static inline void all_fields(mg_field *out, const bitmaps *maps, size_t blocks, uint32_t at, uint32_t start) {
    for (size_t j = 0; j < blocks; j++, at += 64) {
        uint64_t boundary = maps->boundary[j];
        put_fields(out, boundary, maps->quoted[j], at, start);
        out += popcount64(boundary);
        if (boundary) start = at + 64 - (uint32_t)__builtin_clzll(boundary);
    }
}

/* Notes of the records that end in the chunk. The first line end of each block is noted whether it is there or not: a
 * branch would be guessed wrong every other time. */
static inline size_t all_notes(note *notes, const bitmaps *maps, size_t blocks, uint32_t at, masks_state *w) {
    uint32_t field = w->field, lines = w->lines, touch = w->touch;
    size_t noted = 0;
    for (size_t j = 0; j < blocks; j++, at += 64) {
        uint64_t line = maps->line[j], boundary = maps->boundary[j], all_lines = maps->all_lines[j];
        uint32_t here = (maps->blanks >> j & 1) * BLANKS | (maps->doubled >> j & 1) * DOUBLED;
        touch |= here;
        for (uint64_t rest = line;;) {
            uint64_t below = (rest & -rest) - 1;
            note *e = &notes[noted];
            e->end = at + (uint32_t)popcount64(below);
            e->fields = field + (uint32_t)popcount64(boundary & below) + 1;
            e->lines = lines + (uint32_t)popcount64(all_lines & below) + 1;
            e->touch = touch;
            noted += rest != 0;
            rest &= rest - 1;
            if (__builtin_expect(rest == 0, 1)) break;
        }
        touch = line ? here : touch;
        field += (uint32_t)popcount64(boundary);
        lines += (uint32_t)popcount64(all_lines);
        w->start = boundary ? at + 64 - (uint32_t)__builtin_clzll(boundary) : w->start;
    }
    w->field = field;
    w->lines = lines;
    w->touch = touch;
    return noted;
}

mg_status MG_NAME(mg_csv_masks_)(mg_csv_run *r) {
    const mg_csv_dialect *d = &r->s->dialect;
    const needles k = needles_of(d);
    const uint32_t limit = d->max_field < d->max_row ? d->max_field : d->max_row;
    const uint8_t *p = r->p;
    const size_t n = r->n;
    mg_batch *out = r->out;
    size_t i = r->pos;
    carry c = carry_at_start();
    rows_state s = {.start = i, .field = out->n_fields};
    masks_state w = {.field = s.field, .start = (uint32_t)i};
    raw x;
    bitmaps m;
    note notes[CHUNK + 1];
    uint64_t with_cr = 0;
    mg_status st = MG_OK;

    while (i < n && !s.stop) {
        size_t blocks = blocks_from(i, n), j;
        uint64_t good;
        int bad = 0;
        out->n_fields = w.field;
        st = mg_csv_room(out, CHUNK, CHUNK + 64);
        if (st != MG_OK) break;
        if (!with_cr) {
            with_cr = compare(&x, p, i, n, !r->eof, &k, 1, 0);
            if (!with_cr) understand(&m, &x, blocks, &c, &k, 1, 0);
        }
        if (with_cr) {
            with_cr = compare(&x, p, i, n, !r->eof, &k, 1, 1);
            understand(&m, &x, blocks, &c, &k, 1, 1);
        }
        if (__builtin_expect(m.any_bad, 0) && (j = first_bad(&m, blocks, i, n, &good)) < blocks) {
            m.boundary[j] &= good;
            m.line[j] &= good;
            blocks = j + 1;
            bad = 1;
        }
        all_fields(out->fields + w.field, &m, blocks, (uint32_t)i, w.start);
        size_t noted = all_notes(notes, &m, blocks, (uint32_t)i, &w);
        put_rows(r, &s, notes, noted, limit);
        i += 64 * blocks;
        /* A record beyond the limit is an open quote, perhaps: the automaton knows how far to go. */
        if (bad || (i < n && i - s.start > limit)) s.stop = 1;
    }
    out->n_fields = s.field;
    r->pos = s.start;
    r->s->line += s.lines;
    return st;
}
