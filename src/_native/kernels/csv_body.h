/* csv_body.h: the mask scanner, once per instruction set. Included behind a simd header.
 *
 * csv_bits.h makes bitmaps of 2 KiB; a second loop writes a field for every boundary, without asking what kind it is; a
 * third notes where records end, and the last makes rows of the notes. Rows that may need their fields touched up (spaces
 * to trim, doubled quotes to flag) are known from the bitmaps. Short loops over small arrays, because one loop over
 * everything needs more registers than there are: half the speed.
 * The first quote that RFC 4180 does not allow ends the run, and so does a limit: records before it are kept, its own goes
 * to the automaton in csv.c, and the scanner starts afresh behind it, outside of quotes, on any byte.
 */
#include "csv_bits.h"

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
