/* csv_body.h: the mask scanner, once per instruction set. Included behind a simd header.
 *
 * Stage one turns 64 bytes into bitmaps: compare with each special byte, exclusive-or the quotes from the left (a bit of
 * `inside` is then set from an opening quote up to its closing one), drop what is inside. All quotes are checked against
 * RFC 4180 on the way: an opening one follows a boundary (the start of a field) or, as the second half of a doubled
 * quote, a closing one; behind a closing one stands a boundary or an opening one. While that holds the bitmaps say what
 * the automaton in csv.c would say. The first quote that breaks the rule ends the run: records before it are kept, its
 * own goes to the automaton, and the scanner starts afresh behind it, outside of quotes, on any byte.
 * Stage two writes a field for every boundary, without asking what kind it is, and notes where records end; per chunk of
 * 32 blocks a second loop then makes rows of the notes. Rows that may need their fields touched up (spaces to trim,
 * doubled quotes to flag) are known from the bitmaps. An LF ends a line, with or without CR before it; a CR that no LF
 * follows does too.
 */
#include "csv_run.h"

#include <string.h>

#define MG_JOIN2(a, b) a##b
#define MG_JOIN(a, b) MG_JOIN2(a, b)
#define MG_NAME(a) MG_JOIN(a, MG_SUFFIX)

enum { BLOCKS = 32, CHUNK = 64 * BLOCKS, AHEAD = 1024 };
enum { BLANKS = 1, DOUBLED = 2 };

typedef struct {
    mg_splat delimiter, quote, lf, cr, space, tab;
    uint64_t quotes, trim; /* all ones, or 0: the dialect has none */
} needles;

/* What one block leaves for the next: the bitmaps of the last, of which the top bit counts. */
typedef struct {
    uint64_t inside; /* all bits */
    uint64_t boundary, closing, blank, line;
} carry;

typedef struct {
    uint64_t boundary;  /* delimiters and line ends outside quotes */
    uint64_t line;      /* line ends outside quotes: ends of records, empty ones included */
    uint64_t all_lines; /* and those inside */
    uint64_t quoted;    /* boundaries right behind a closing quote */
    uint64_t empty;     /* where a line ends that has nothing on it */
    uint64_t bad;       /* quotes that break the rule, each at the byte that shows it */
    uint64_t doubled;   /* quotes that are the second of two */
    uint64_t blanks;    /* spaces and tabs at a boundary */
} masks;

static inline needles needles_of(const mg_csv_dialect *d) {
    needles k = {.delimiter = splat(d->delimiter), .quote = splat(d->quote), .lf = splat('\n'), .cr = splat('\r')};
    k.space = splat(' ');
    k.tab = splat(d->delimiter == '\t' ? ' ' : '\t');
    k.quotes = d->quote ? ~(uint64_t)0 : 0;
    k.trim = d->trim ? ~(uint64_t)0 : 0;
    return k;
}

/* The bits one place on; bit 0 is the last of the block before. */
static inline uint64_t next_to(uint64_t m, uint64_t block_before) { return m << 1 | block_before >> 63; }

/* len: bytes of the block that count (64, or less at the end of the input). cr: its bitmap of CR, 0 in the loops for
 * files without any. after_cr: 1 if a CR in the last byte is not to end a line, because LF follows or may follow. */
static inline masks classify(mg_block b, const needles *k, carry *c, unsigned len, uint64_t cr, uint64_t after_cr) {
    masks m;
    uint64_t valid = ~(uint64_t)0 >> (64 - len);
    uint64_t quote = equal64(b, k->quote) & k->quotes & valid, lf = equal64(b, k->lf) & valid;
    uint64_t inside = prefix_xor(quote) ^ c->inside;
    uint64_t crlf = cr & (lf >> 1 | after_cr << (len - 1));
    m.all_lines = lf | (cr ^ crlf);
    m.line = m.all_lines & ~inside;
    m.boundary = (m.all_lines | (equal64(b, k->delimiter) & valid)) & ~inside;
    uint64_t opening = quote & inside, closing = quote & ~inside;
    uint64_t behind = next_to(m.boundary, c->boundary), closed = next_to(closing, c->closing);
    /* Openings not behind a boundary and closings with none behind them must be the same places: doubled quotes. */
    m.bad = ((opening & ~behind) ^ (closed & ~(m.boundary | crlf))) & valid;
    m.quoted = m.boundary & closed;
    m.empty = next_to(m.line, c->line) & (lf | cr);
    m.doubled = opening & closed;
#if defined(MG_SIMD_NONE)
    m.blanks = k->trim; /* two more bitmaps cost more than a look at the ends of every field */
#else
    uint64_t blank = (equal64(b, k->space) | equal64(b, k->tab)) & k->trim, ends = m.boundary | crlf;
    m.blanks = ((blank & (behind | ends >> 1)) | (c->blank >> 63 & ends)) & valid;
    c->blank = blank;
#endif
    c->inside = (uint64_t)((int64_t)inside >> 63);
    c->boundary = m.boundary;
    c->closing = closing;
    c->line = m.line;
    return m;
}

static inline mg_block load_tail(const uint8_t *p, size_t n) {
    uint8_t tail[64] = {0};
    memcpy(tail, p, n);
    return load64(tail);
}

/* Asks for what comes in AHEAD bytes. Not left to the processor: in virtual machines that scan at a third of the speed. */
static inline void ahead(const uint8_t *p) { __builtin_prefetch((const void *)((uintptr_t)p + AHEAD)); }

/* 1 if the CR in the last byte of the block at p[i] is half a line end. Rare enough to look behind the block only then. */
static inline uint64_t lf_follows(const uint8_t *p, size_t i, size_t n, int more) {
    return __builtin_expect(p[i + 63] == '\r', 0) && (i + 64 < n ? p[i + 64] == '\n' : more);
}

typedef struct {
    uint64_t records, fields, bad;
} counts;

static inline void count(counts *t, const masks *m) {
    t->records += popcount64(m->line);
    t->fields += popcount64(m->boundary);
    if (__builtin_expect(m->empty != 0, 0)) {
        t->records -= popcount64(m->empty);
        t->fields -= popcount64(m->empty);
    }
    t->bad |= m->bad;
}

void MG_NAME(mg_csv_shape_)(const mg_csv_dialect *d, const uint8_t *p, size_t n, mg_csv_shape *out) {
    const needles k = needles_of(d);
    const uint64_t top = (uint64_t)1 << 63;
    carry c = {.boundary = top, .line = top};
    counts t = {0, 0, 0};
    int with_cr = 0;
    size_t i = 0, len = 64;
    while (n - i >= 64) {
        size_t blocks = (n - i) / 64 < BLOCKS ? (n - i) / 64 : BLOCKS;
        if (!with_cr) { /* as if there were no CR; if there was one, once more */
            carry saved = c;
            counts sum = t;
            uint64_t cr = 0;
            for (size_t j = i; j < i + 64 * blocks; j += 64) {
                ahead(p + j);
                mg_block b = load64(p + j);
                cr |= any64(b, k.cr);
                masks m = classify(b, &k, &c, 64, 0, 0);
                count(&sum, &m);
            }
            if (!cr) {
                t = sum;
                i += 64 * blocks;
                continue;
            }
            c = saved;
        }
        with_cr = 0;
        for (size_t end = i + 64 * blocks; i < end; i += 64) {
            ahead(p + i);
            mg_block b = load64(p + i);
            uint64_t cr = equal64(b, k.cr);
            with_cr |= cr != 0;
            masks m = classify(b, &k, &c, 64, cr, lf_follows(p, i, n, 0));
            count(&t, &m);
        }
    }
    if (i < n) {
        mg_block b = load_tail(p + i, n - i);
        len = n - i;
        masks m = classify(b, &k, &c, (unsigned)len, equal64(b, k.cr), 0);
        count(&t, &m);
    }
    uint64_t last = n != 0 && !(c.line >> (len - 1) & 1); /* a record without line end */
    out->records = t.records + last;
    out->fields = t.fields + last;
    out->strict = t.bad == 0;
    out->open = c.inside != 0;
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
    carry c;
    size_t i;
    uint32_t field, start, lines;
    uint32_t touch; /* the open record has something to touch up */
    int bad;
} masks_state;

/* The bitmaps of a chunk: three short loops, one after the other over these, run twice as fast as one long loop that has
 * too few registers. */
typedef struct {
    uint64_t boundary[BLOCKS], quoted[BLOCKS], line[BLOCKS], all_lines[BLOCKS];
    uint32_t touch[BLOCKS]; /* BLANKS, DOUBLED: fields of the block have that at their ends, in them */
} bitmaps;

/* Stage one for the blocks from w->i on. Returns how many there are; *seen_cr is not 0 if there are CRs, which
 * without `with_cr` makes it all void. */
static inline __attribute__((always_inline)) size_t read_blocks(mg_csv_run *r, const needles *k, masks_state *w,
                                                                bitmaps *maps, const int with_cr, uint64_t *seen_cr) {
    const uint8_t *p = r->p;
    const size_t n = r->n, first = w->i;
    size_t i = first, blocks = 0;
    uint64_t any = 0, bad = 0;
    carry c = w->c;
    for (; blocks < BLOCKS && i < n && !bad; i += 64, blocks++) {
        masks m;
        if (n - i >= 64) {
            ahead(p + i);
            mg_block b = load64(p + i);
            uint64_t cr = with_cr ? equal64(b, k->cr) : 0;
            any |= with_cr ? cr : any64(b, k->cr);
            m = classify(b, k, &c, 64, cr, with_cr ? lf_follows(p, i, n, !r->eof) : 0);
        } else {
            mg_block b = load_tail(p + i, n - i);
            uint64_t cr = equal64(b, k->cr);
            any |= cr;
            m = classify(b, k, &c, (unsigned)(n - i), cr, !r->eof);
        }
        bad = m.bad;
        maps->boundary[blocks] = m.boundary;
        maps->quoted[blocks] = m.quoted;
        maps->line[blocks] = m.line;
        maps->all_lines[blocks] = m.all_lines;
        maps->touch[blocks] = (m.blanks ? BLANKS : 0) | (m.doubled ? DOUBLED : 0);
    }
    if (bad) { /* what is before the first of them is right */
        uint64_t good = (bad & -bad) - 1;
        maps->boundary[blocks - 1] &= good;
        maps->line[blocks - 1] &= good;
        w->bad = 1;
    }
    w->c = c;
    w->i = i;
    *seen_cr = any;
    return blocks;
}

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
        uint32_t here = maps->touch[j];
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
    const uint64_t top = (uint64_t)1 << 63;
    mg_batch *out = r->out;
    rows_state s = {.start = r->pos, .field = out->n_fields};
    masks_state w = {.c = {.boundary = top, .line = top}, .i = r->pos, .field = s.field, .start = (uint32_t)r->pos};
    note notes[CHUNK + 1];
    bitmaps maps;
    uint64_t cr = 0;
    mg_status st = MG_OK;

    while (w.i < r->n && !s.stop) {
        out->n_fields = w.field;
        st = mg_csv_room(out, CHUNK, CHUNK + 64);
        if (st != MG_OK) break;
        uint32_t at = (uint32_t)w.i;
        size_t blocks = 0;
        if (!cr) { /* as if there were no CR; if there was one, once more, and the next chunk at once in that way */
            masks_state before = w;
            blocks = read_blocks(r, &k, &w, &maps, 0, &cr);
            if (cr) w = before;
            else goto read;
        }
        blocks = read_blocks(r, &k, &w, &maps, 1, &cr);
    read:
        all_fields(out->fields + w.field, &maps, blocks, at, w.start);
        size_t noted = all_notes(notes, &maps, blocks, at, &w);
        put_rows(r, &s, notes, noted, limit);
        /* A record beyond the limit is an open quote, perhaps: the automaton knows how far to go. */
        if (w.bad || (w.i < r->n && w.i - s.start > limit)) s.stop = 1;
    }
    out->n_fields = s.field;
    r->pos = s.start;
    r->s->line += s.lines;
    return st;
}
