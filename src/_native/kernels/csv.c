/* csv.c: delimited text to rows. Holds the lenient automaton, which defines what every byte means.
 *
 * What it reads: RFC 4180, and what files in the wild do to it.
 *   - A field that starts with a quote (with `trim`, after spaces and tabs) runs to its closing quote; a doubled quote
 *     inside stands for one. What follows the closing quote up to the next delimiter is appended as it is ("abc"def is
 *     abcdef). A quote anywhere else is an ordinary byte.
 *   - LF, CRLF and CR each end a line. Lines with nothing (with `trim`: nothing but spaces and tabs) are no records.
 * Limits, all counted in raw bytes from where the thing starts, so that the answer never depends on how the input is
 * cut into buffers:
 *   - a record longer than max_row: one row with MG_R_row_too_long, raw = its first max_row bytes;
 *   - an unquoted field longer than max_field, or more than max_columns fields: one row with MG_R_field_too_long or
 *     MG_R_row_too_many_columns, raw = the record;
 *   - a quoted field longer than max_field, or open at the end of the input: MG_R_row_quote_unclosed, line = the line
 *     on which that quote opened, raw = from the start of the record to the end of that line, and the next record
 *     begins on the line after. So a stray quote costs a line, not the file. Work stays linear: within the field all
 *     runs of quotes are even, so none of its lines, read again from outside, can leave a quote open before its end;
 *   - likewise a quoted field with line ends in it and text behind its closing quote: that is no closing quote but the
 *     next stray one, and the lines between the two would be lost in one record.
 * The mask scanner (csv_body.h) reads what is as RFC 4180 wants it, many times faster; it must never disagree.
 * Rows with an error have no fields. No more than max_row + 2 bytes are ever needed to make progress.
 */
#include "csv_run.h"

#include <string.h>

enum { OTHER, DELIMITER, LF, CR, QUOTE, BLANK };        /* classes of bytes */
enum { NOT, AT_FIELD, IN_FIELD, TO_LINE_END };          /* mg_csv.skipping: where a skipped record goes on */
typedef enum { RECORD, NOTHING, MORE, NO_MEMORY } step; /* what one step of the automaton found */

#define SPAN_MAX ((size_t)1 << 30)

static uint32_t limit(uint32_t wanted, uint32_t usual) {
    if (wanted == 0) return usual;
    return wanted < SPAN_MAX - 8 ? wanted : (uint32_t)SPAN_MAX - 8;
}

void mg_csv_init(mg_csv *s, const mg_csv_dialect *dialect) {
    memset(s, 0, sizeof *s);
    s->dialect = *dialect;
    s->dialect.max_field = limit(dialect->max_field, 1u << 20);
    s->dialect.max_row = limit(dialect->max_row, 16u << 20);
    if (s->dialect.max_field > s->dialect.max_row) s->dialect.max_field = s->dialect.max_row;
    s->dialect.max_columns = limit(dialect->max_columns, 4096);
    s->line = 1;
}

static mg_status grow(void **data, uint32_t *cap, size_t used, size_t more, size_t size) {
    if (*cap - used >= more) return MG_OK;
    size_t want = *cap ? (size_t)*cap * 2 : 1024;
    while (want < used + more) want *= 2;
    if (want > UINT32_MAX) return MG_NOMEM;
    void *q = mg_realloc(*data, used * size, want * size);
    if (!q) return MG_NOMEM;
    *data = q;
    *cap = (uint32_t)want;
    return MG_OK;
}

mg_status mg_csv_room(mg_batch *b, size_t rows, size_t fields) {
    mg_status st = grow((void **)&b->rows, &b->cap_rows, b->n_rows, rows, sizeof *b->rows);
    return st != MG_OK ? st : grow((void **)&b->fields, &b->cap_fields, b->n_fields, fields, sizeof *b->fields);
}

static void classify(const mg_csv_dialect *d, uint8_t *cls) {
    memset(cls, OTHER, 256);
    if (d->trim) cls[' '] = cls['\t'] = BLANK;
    if (d->quote) cls[d->quote] = QUOTE;
    cls[d->delimiter] = DELIMITER;
    cls['\n'] = LF;
    cls['\r'] = CR;
}

/* A record being read: its limits and what is known of it so far. */
typedef struct {
    size_t start, row_limit;
    uint64_t lines; /* line ends passed inside closed quotes */
    uint32_t column, first_field;
    uint32_t error, error_column;
    int skip;
} record;

static int put_field(mg_csv_run *r, record *rec, size_t off, size_t end, uint32_t flags) {
    if (rec->error) return 1;
    if (rec->column == r->s->dialect.max_columns) {
        rec->error = MG_R_row_too_many_columns;
        rec->error_column = rec->column;
        return 1;
    }
    if (mg_csv_room(r->out, 1, 1) != MG_OK) return 0;
    mg_field *f = &r->out->fields[r->out->n_fields++];
    f->off = (uint32_t)off;
    f->len = (uint32_t)(end - off) | flags;
    return 1;
}

/* Ends the record: p[start..end) is reported, reading goes on at `next` (on line `line`). */
static step put_row(mg_csv_run *r, record *rec, size_t end, size_t next, uint64_t line, uint64_t next_line) {
    if (!rec->skip) {
        if (mg_csv_room(r->out, 1, 0) != MG_OK) return NO_MEMORY;
        if (rec->error) r->out->n_fields = rec->first_field;
        mg_row *row = &r->out->rows[r->out->n_rows++];
        row->line = line;
        row->field = rec->first_field;
        row->count = r->out->n_fields - rec->first_field;
        row->off = (uint32_t)rec->start;
        row->len = (uint32_t)(end - rec->start);
        row->error = rec->error;
        row->column = rec->error ? rec->error_column : 0;
    }
    r->s->skipping = NOT;
    r->s->line = next_line;
    r->pos = next;
    return rec->skip ? NOTHING : RECORD;
}

/* The line end at p[i], CR or LF: where the next line begins, or 0 when that needs the next byte. */
static size_t behind_line_end(const mg_csv_run *r, size_t i) {
    if (r->p[i] == '\n') return i + 1;
    if (i + 1 < r->n) return r->p[i + 1] == '\n' ? i + 2 : i + 1;
    return r->eof ? i + 1 : 0;
}

/* Input is used up inside the record. What is skipped may be let go of, up to `from`; a record is kept whole. */
static step more(mg_csv_run *r, record *rec, size_t from, uint32_t state) {
    if (rec->skip) {
        r->pos = from;
        r->s->skipping = state;
        r->s->line += rec->lines;
    } else
        r->out->n_fields = rec->first_field;
    return MORE;
}

/* The record passes max_row: report it, skip the rest. */
static step too_long(mg_csv_run *r, record *rec, size_t from, uint32_t state) {
    if (!rec->error) {
        rec->error = MG_R_row_too_long;
        rec->error_column = rec->column;
    }
    uint64_t line = r->s->line;
    step found = put_row(r, rec, rec->row_limit, from, line, line + rec->lines);
    if (found != NO_MEMORY) r->s->skipping = state;
    return found;
}

static step to_line_end(mg_csv_run *r) {
    size_t i = r->pos, next;
    while (i < r->n && r->p[i] != '\n' && r->p[i] != '\r') i++;
    r->pos = i;
    if (i == r->n) {
        if (r->eof) r->s->skipping = NOT;
        return MORE;
    }
    if ((next = behind_line_end(r, i)) == 0) return MORE;
    r->pos = next;
    r->s->line++;
    r->s->skipping = NOT;
    return NOTHING;
}

/* The quote at p[open] is not closed within its limit or the input: `seen` = how far its field may be looked at. */
static step unclosed(mg_csv_run *r, record *rec, size_t open, size_t seen) {
    uint64_t line = r->s->line + rec->lines, first = r->s->line;
    size_t i = open, next = 0;
    if (!rec->error) {
        rec->error = MG_R_row_quote_unclosed;
        rec->error_column = rec->column;
        first = line;
    }
    while (i < seen && r->p[i] != '\n' && r->p[i] != '\r') i++;
    if (i < seen) next = behind_line_end(r, i); /* `seen` ends at eof or before p+n: never 0 */
    if (next) return put_row(r, rec, i, next, first, line + 1);
    step found = put_row(r, rec, i, i, first, line); /* the line itself is beyond the limit */
    if (found != NO_MEMORY && i < r->n) r->s->skipping = TO_LINE_END;
    return found;
}

/* Reads one record from r->pos, or the rest of one that is skipped. */
static step lenient(mg_csv_run *r, const uint8_t *cls) {
    const uint8_t *p = r->p;
    const mg_csv_dialect *d = &r->s->dialect;
    const size_t n = r->n;
    size_t i = r->pos;
    record rec = {.start = i, .first_field = r->out->n_fields, .skip = r->s->skipping != NOT};
    uint32_t state = rec.skip ? r->s->skipping : AT_FIELD;
    if (state == TO_LINE_END) return to_line_end(r);
    rec.error = rec.skip; /* nothing is kept of a skipped record */
    rec.row_limit = rec.skip ? SIZE_MAX : i + d->max_row;

    for (;; rec.column++) {
        size_t from = i, off, end, field_limit = from + d->max_field;
        uint32_t flags = 0;
        if (state == AT_FIELD) {
            while (i < n && cls[p[i]] == BLANK) i++;
            if (i > rec.row_limit) return too_long(r, &rec, rec.row_limit, AT_FIELD);
        }
        off = i;
        if (state == AT_FIELD && i < n && cls[p[i]] == QUOTE) {
            size_t open = i++, quote_limit = i + d->max_field;
            size_t stop = quote_limit < rec.row_limit ? quote_limit : rec.row_limit;
            uint64_t lines = 0;
            off = i;
            for (;;) { /* to the closing quote */
                while (i < n && i < stop && cls[p[i]] != QUOTE) {
                    lines += p[i] == '\n' || (p[i] == '\r' && !(i + 1 < n && p[i + 1] == '\n'));
                    i++;
                }
                if (i > stop || (i == stop && i < n && (stop == rec.row_limit || cls[p[i]] != QUOTE))) {
                    if (stop == rec.row_limit) return too_long(r, &rec, open, AT_FIELD);
                    return unclosed(r, &rec, open, stop);
                }
                if (i == n || (i + 1 == n && !r->eof)) {
                    if (r->eof) return unclosed(r, &rec, open, n);
                    return more(r, &rec, open, AT_FIELD);
                }
                if (i + 1 == n || cls[p[i + 1]] != QUOTE) break;
                flags = MG_FIELD_ESCAPED;
                i += 2;
            }
            end = i++;
            flags |= MG_FIELD_QUOTED;
            while (i < n && cls[p[i]] == BLANK) i++;
            if (i == n || i > rec.row_limit || cls[p[i]] == DELIMITER || cls[p[i]] == LF || cls[p[i]] == CR) {
                rec.lines += lines;
                if (i > rec.row_limit) return too_long(r, &rec, rec.row_limit, IN_FIELD);
                goto ended;
            }
            if (lines && !rec.error && i < rec.row_limit) return unclosed(r, &rec, open, i); /* it met another stray quote, lines below */
            rec.lines += lines;
            flags |= MG_FIELD_ESCAPED; /* text behind the closing quote: the span holds both */
        }
        for (;;) { /* plain bytes, to the end of the field */
            size_t stop = rec.row_limit;
            if (!rec.error && field_limit < stop) stop = field_limit;
            while (i < n && i < stop && (cls[p[i]] == OTHER || cls[p[i]] >= QUOTE)) i++;
            if (i == n || cls[p[i]] == DELIMITER || cls[p[i]] == LF || cls[p[i]] == CR) {
                if (i <= stop) break;
            }
            if (i >= rec.row_limit) return too_long(r, &rec, i, IN_FIELD);
            rec.error = MG_R_field_too_long; /* known now; the raw record is still wanted to its end */
            rec.error_column = rec.column;
        }
        end = i;
        while (end > off && cls[p[end - 1]] == BLANK) end--;
    ended:
        if (i == n && !r->eof) {
            return more(r, &rec, i, flags || state == IN_FIELD || i > off ? IN_FIELD : AT_FIELD);
        }
        if (i < n && cls[p[i]] == DELIMITER) {
            if (i >= rec.row_limit) return too_long(r, &rec, i, IN_FIELD);
            if (!put_field(r, &rec, off, end, flags)) return NO_MEMORY;
            state = AT_FIELD;
            i++;
            continue;
        }
        size_t next = i == n ? n : behind_line_end(r, i);
        if (next == 0) return more(r, &rec, i, IN_FIELD);
        if (rec.column == 0 && flags == 0 && end == off && !rec.error) { /* nothing on this line */
            r->s->line += i < n;
            r->pos = next;
            return NOTHING;
        }
        if (!put_field(r, &rec, off, end, flags)) return NO_MEMORY;
        return put_row(r, &rec, i, next, r->s->line, r->s->line + rec.lines + (i < n));
    }
}

static mg_status masks(mg_csv_run *r) {
    switch (mg_isa_current()) {
#if defined(__x86_64__)
    case MG_ISA_SSE42: return mg_csv_masks_sse42(r);
    case MG_ISA_AVX2: return mg_csv_masks_avx2(r);
    case MG_ISA_AVX512: return mg_csv_masks_avx512(r);
#elif defined(__aarch64__)
    case MG_ISA_NEON: return mg_csv_masks_neon(r);
#endif
    default: return mg_csv_masks_scalar(r);
    }
}

mg_status mg_csv_scan(mg_csv *s, const uint8_t *p, size_t n, int eof, uint32_t max_rows, mg_batch *out, size_t *used) {
    uint8_t cls[256];
    mg_csv before = *s;
    if (n > UINT32_MAX / 2) { /* spans are 32 bits */
        n = UINT32_MAX / 2;
        eof = 0;
    }
    mg_csv_run run = {.s = s, .p = p, .n = n, .eof = eof, .max_rows = max_rows, .out = out};
    step found = RECORD;
    size_t turn = 1, turns = 0; /* records that the automaton reads before the mask scanner tries again */
    classify(&s->dialect, cls);
    out->base = p;
    out->n_rows = out->n_fields = 0;
    while (out->n_rows < max_rows && run.pos < n) {
        if (turns == 0 && s->skipping == NOT && !s->dialect.lenient) {
            size_t pos = run.pos;
            if (masks(&run) != MG_OK) found = NO_MEMORY;
            turn = run.pos != pos ? 1 : turn < 64 ? turn * 2 : turn; /* in a file full of strange quotes it only costs */
            turns = turn;
            if (found != NO_MEMORY && (run.pos == n || out->n_rows == max_rows)) break;
        }
        if (found != NO_MEMORY) found = lenient(&run, cls);
        turns -= turns != 0;
        if (found == MORE) break;
        if (found == NO_MEMORY) {
            *s = before;
            out->n_rows = out->n_fields = 0;
            *used = 0;
            return MG_NOMEM;
        }
    }
    *used = run.pos;
    if (out->n_rows == max_rows) return MG_FULL;
    return out->n_rows == 0 && !eof ? MG_NEED_MORE : MG_OK;
}

void mg_csv_structure(const mg_csv_dialect *d, const uint8_t *p, size_t n, mg_csv_shape *out) {
    switch (mg_isa_current()) {
#if defined(__x86_64__)
    case MG_ISA_SSE42: mg_csv_shape_sse42(d, p, n, out); break;
    case MG_ISA_AVX2: mg_csv_shape_avx2(d, p, n, out); break;
    case MG_ISA_AVX512: mg_csv_shape_avx512(d, p, n, out); break;
#elif defined(__aarch64__)
    case MG_ISA_NEON: mg_csv_shape_neon(d, p, n, out); break;
#endif
    default: mg_csv_shape_scalar(d, p, n, out);
    }
}

size_t mg_field_unescape(const uint8_t *p, size_t n, uint8_t quote, uint8_t *out) {
    uint8_t *o = out;
    for (size_t i = 0; i < n; i++) {
        if (p[i] == quote) {
            if (i + 1 == n || p[i + 1] != quote) { /* the closing one: the rest is plain */
                memcpy(o, p + i + 1, n - i - 1);
                return (size_t)(o - out) + n - i - 1;
            }
            i++;
        }
        *o++ = p[i];
    }
    return (size_t)(o - out);
}
