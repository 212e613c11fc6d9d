/* Arrow columns -> rows. Everything becomes text, as it would stand in a CSV file: that is what the encoder reads, what
 * the rejects file shows, and what a person can correct and import again.
 *
 * Numbers: decimal. Booleans: true, false. Dates: YYYY-MM-DD. Times: YYYY-MM-DDThh:mm:ss[.fraction], with Z if the
 * column has a time zone (its values are UTC then). Lists: their elements joined with ';'. Nulls: empty. Floating-point
 * columns are turned into text by the binding, since the shortest form needs Python's own conversion.
 *
 * Invariant: nothing is read outside of what offsets, lengths and views claim, and those are checked for order and sign;
 * how large a producer's buffers really are the interface does not tell.
 */
#include "arrow.h"

#include "csv_run.h"

#include <string.h>
#if defined(__SSE2__)
#include <immintrin.h>
#endif

#define SLACK 64u /* written bytes behind the end that scanning and short copies may touch */

static int bit(const uint8_t *bits, int64_t i) { return bits[i >> 3] >> (i & 7) & 1; }

static int64_t load_int(const void *values, uint8_t width, int64_t i) {
    switch (width) {
    case 1: return ((const int8_t *)values)[i];
    case 2: return ((const int16_t *)values)[i];
    case 4: return ((const int32_t *)values)[i];
    default: return ((const int64_t *)values)[i];
    }
}

static uint64_t load_uint(const void *values, uint8_t width, int64_t i) {
    switch (width) {
    case 1: return ((const uint8_t *)values)[i];
    case 2: return ((const uint16_t *)values)[i];
    case 4: return ((const uint32_t *)values)[i];
    default: return ((const uint64_t *)values)[i];
    }
}

/* ---- numbers and dates; each needs less than SLACK bytes ---- */

static uint8_t *put_digits(uint8_t *o, uint64_t v, int at_least) {
    uint8_t text[20];
    int n = 0;
    do text[n++] = (uint8_t)('0' + v % 10);
    while ((v /= 10) != 0);
    while (n < at_least) text[n++] = '0';
    while (n) *o++ = text[--n];
    return o;
}

static uint8_t *put_int(uint8_t *o, int64_t v) {
    if (v < 0) *o++ = '-';
    return put_digits(o, v < 0 ? 0 - (uint64_t)v : (uint64_t)v, 1);
}

static int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b < 0); }

/* Days since 1970-01-01. Years outside 0..9999 get their sign, as ISO 8601 expands them; the encoder refuses those. */
static uint8_t *put_day(uint8_t *o, int64_t day) {
    day += 719468; /* from 0000-03-01: the leap day ends its year, 146,097 days are 400 years */
    int64_t era = floor_div(day, 146097), year;
    uint32_t d = (uint32_t)(day - era * 146097);
    uint32_t y = (d - d / 1460 + d / 36524 - d / 146096) / 365;
    uint32_t in_year = d - (365 * y + y / 4 - y / 100), month = (5 * in_year + 2) / 153;
    d = in_year - (153 * month + 2) / 5 + 1;
    month = month < 10 ? month + 3 : month - 9;
    year = era * 400 + y + (month <= 2);
    if (year < 0 || year > 9999) *o++ = year < 0 ? '-' : '+';
    o = put_digits(o, (uint64_t)(year < 0 ? -year : year), 4);
    *o++ = '-';
    o = put_digits(o, month, 2);
    *o++ = '-';
    return put_digits(o, d, 2);
}

static uint8_t *put_time(uint8_t *o, int64_t v, int64_t unit, int zoned) {
    int64_t seconds = floor_div(v, unit), fraction = v % unit + (v % unit < 0 ? unit : 0);
    int64_t day = floor_div(seconds, 86400);
    uint32_t second = (uint32_t)((uint64_t)seconds - (uint64_t)day * 86400u); /* the first day may begin before INT64_MIN */
    o = put_day(o, day);
    *o++ = 'T';
    o = put_digits(o, second / 3600, 2);
    *o++ = ':';
    o = put_digits(o, second / 60 % 60, 2);
    *o++ = ':';
    o = put_digits(o, second % 60, 2);
    if (fraction) {
        int places = unit == 1000 ? 3 : unit == 1000000 ? 6 : 9;
        *o++ = '.';
        o = put_digits(o, (uint64_t)fraction, places);
    }
    if (zoned) *o++ = 'Z';
    return o;
}

/* ---- one value ---- */

static mg_status find_text(const mg_arrow_column *c, int64_t i, const uint8_t **p, uint64_t *n) {
    if (c->kind == MG_ARROW_VIEW) {
        const uint8_t *view = (const uint8_t *)c->values + 16 * i;
        int32_t len, which, at;
        memcpy(&len, view, 4);
        if (len < 0) return MG_CORRUPT;
        *n = (uint64_t)len;
        *p = view + 4; /* up to 12 bytes stand in the view itself */
        if (len <= 12) return MG_OK;
        memcpy(&which, view + 8, 4);
        memcpy(&at, view + 12, 4);
        if (which < 0 || which >= c->n_blocks || at < 0 || (int64_t)at + len > c->block_len[which]) return MG_CORRUPT;
        *p = c->blocks[which] + at;
        return MG_OK;
    }
    int64_t from = load_int(c->values, c->width, i), to = load_int(c->values, c->width, i + 1);
    if (from < 0 || to < from || to > c->data_len) return MG_CORRUPT;
    *p = c->data + from;
    *n = (uint64_t)(to - from);
    return MG_OK;
}

/* Appends the value's text to data, SLACK bytes of room behind it. MG_FULL: more than max bytes. */
static mg_status put_value(const mg_arrow_column *c, int64_t i, uint32_t max, mg_buf *data) {
    if (i < 0 || i >= c->length) return MG_CORRUPT;
    i += c->offset;
    if (c->kind == MG_ARROW_NULL || (c->valid && !bit(c->valid, i))) return MG_OK;
    if (c->kind == MG_ARROW_DICTIONARY) {
        int64_t k = c->negative ? load_int(c->values, c->width, i) : (int64_t)load_uint(c->values, c->width, i);
        return put_value(c->child, k, max, data);
    }
    if (c->kind == MG_ARROW_LIST) {
        int64_t from = load_int(c->values, c->width, i), to = load_int(c->values, c->width, i + 1);
        size_t start = data->len;
        if (from < 0 || to < from) return MG_CORRUPT;
        for (int64_t k = from; k < to; k++) {
            size_t used = data->len - start;
            if (used + 1 > max) return MG_FULL;
            if (k > from) data->data[data->len++] = ';';
            mg_status st = put_value(c->child, k, max - (uint32_t)(data->len - start), data);
            if (st != MG_OK) return st;
            if ((st = mg_buf_reserve(data, 2 * SLACK)) != MG_OK) return st;
        }
        return MG_OK;
    }
    if (c->kind == MG_ARROW_TEXT || c->kind == MG_ARROW_VIEW) {
        const uint8_t *p;
        uint64_t n;
        mg_status st = find_text(c, i, &p, &n);
        if (st != MG_OK) return st;
        if (n > max) return MG_FULL;
        if (data->cap - data->len < n + 2 * SLACK && (st = mg_buf_reserve(data, n + 2 * SLACK)) != MG_OK) return st;
        if (n) memcpy(data->data + data->len, p, n);
        data->len += n;
        return MG_OK;
    }
    uint8_t *o = data->data + data->len;
    switch (c->kind) {
    case MG_ARROW_BOOL: {
        int yes = bit((const uint8_t *)c->values, i);
        memcpy(o, yes ? "true " : "false", 5);
        o += yes ? 4 : 5;
        break;
    }
    case MG_ARROW_INT: o = put_int(o, load_int(c->values, c->width, i)); break;
    case MG_ARROW_UINT: o = put_digits(o, load_uint(c->values, c->width, i), 1); break;
    case MG_ARROW_DAY: {
        int64_t v = load_int(c->values, c->width, i);
        o = put_day(o, c->width == 8 ? floor_div(v, 86400000) : v);
        break;
    }
    default: o = put_time(o, load_int(c->values, 8, i), c->unit, c->zoned); break;
    }
    if ((size_t)(o - data->data) - data->len > max) return MG_FULL;
    data->len = (size_t)(o - data->data);
    return mg_buf_reserve(data, 2 * SLACK);
}

/* ---- rows ---- */

/* Does this field need quotes in a CSV file? Reads up to 15 bytes past it. */
static int needs_quotes(const uint8_t *p, size_t n) {
    if (n == 0) return 0;
    if (p[0] == ' ' || p[0] == '\t' || p[n - 1] == ' ' || p[n - 1] == '\t') return 1;
#if defined(__SSE2__)
    for (size_t i = 0; i < n; i += 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(p + i));
        __m128i m = _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8('"')), _mm_cmpeq_epi8(v, _mm_set1_epi8(','))),
                                 _mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8('\n')), _mm_cmpeq_epi8(v, _mm_set1_epi8('\r'))));
        uint32_t found = (uint32_t)_mm_movemask_epi8(m);
        if (found) return (size_t)__builtin_ctz(found) < n - i;
    }
    return 0;
#else
    for (size_t i = 0; i < n; i++)
        if (p[i] == '"' || p[i] == ',' || p[i] == '\n' || p[i] == '\r') return 1;
    return 0;
#endif
}

/* Puts quotes around data[from..len), doubling those inside. The span is what lies between them. */
static mg_status quote(mg_buf *data, size_t from, mg_field *f) {
    size_t n = data->len - from, quotes = 0;
    for (size_t i = 0; i < n; i++) quotes += data->data[from + i] == '"';
    mg_status st = mg_buf_reserve(data, quotes + 2 + 2 * SLACK);
    if (st != MG_OK) return st;
    uint8_t *p = data->data + from, *o = p + n + quotes + 2;
    data->len += quotes + 2;
    f->off = (uint32_t)from + 1;
    f->len = (uint32_t)(n + quotes) | MG_FIELD_QUOTED | (quotes ? MG_FIELD_ESCAPED : 0);
    *--o = '"';
    for (size_t i = n; i-- > 0;) { /* from behind, since the text moves to the right in its own place */
        *--o = p[i];
        if (*o == '"') *--o = '"';
    }
    *p = '"';
    return MG_OK;
}

static mg_status put_row(const mg_arrow_table *t, int64_t i, uint64_t line, mg_buf *data, mg_batch *batch) {
    size_t start = data->len;
    int present = !t->valid || bit(t->valid, i);
    mg_row *row = &batch->rows[batch->n_rows];
    mg_field *f = &batch->fields[batch->n_fields];
    memset(row, 0, sizeof *row);
    row->line = line;
    row->field = batch->n_fields;
    row->off = (uint32_t)start;
    for (uint32_t k = 0; k < t->n_columns; k++, f++) {
        size_t from = data->len + (k > 0);
        mg_status st = MG_OK;
        if (k > 0) data->data[data->len++] = ',';
        if (present) st = put_value(&t->columns[k], i, t->max_field, data);
        f->off = (uint32_t)from;
        f->len = (uint32_t)(data->len - from);
        if (st == MG_OK && needs_quotes(data->data + from, f->len)) st = quote(data, from, f);
        if (st == MG_FULL || (st == MG_OK && data->len - start > t->max_row)) {
            row->error = st == MG_FULL ? MG_R_field_too_long : MG_R_row_too_long;
            row->column = k;
            data->len = from;
            break;
        }
        if (st != MG_OK) return st;
    }
    row->count = row->error ? 0 : t->n_columns;
    row->len = (uint32_t)(data->len - start);
    batch->n_rows++;
    batch->n_fields += row->count;
    data->data[data->len++] = '\n';
    return mg_buf_reserve(data, 2 * SLACK);
}

mg_status mg_arrow_rows(const mg_arrow_table *table, int64_t first, int64_t count, uint64_t line, mg_buf *data,
                        mg_batch *batch, int64_t *made) {
    *made = 0;
    mg_status st = mg_buf_reserve(data, 2 * SLACK);
    while (st == MG_OK && *made < count && data->len < table->max_bytes) {
        st = mg_csv_room(batch, 1, table->n_columns);
        if (st == MG_OK) st = put_row(table, first + *made, line + (uint64_t)*made, data, batch);
        if (st == MG_OK) ++*made;
    }
    return st;
}
