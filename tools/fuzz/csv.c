/* Fuzzes the CSV scanner: on every instruction set, in one piece and in several, it must hand out what the automaton does.
 *
 * Input: byte 0 dialect, byte 1 limits, byte 2 where the text is cut and how many rows are asked for; the rest is text.
 */
#include "mg.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(x) do { if (!(x)) __builtin_trap(); } while (0)

static void put(mg_buf *to, const void *p, size_t n) { CHECK(mg_buf_put(to, p, n) == MG_OK); }
static void put_number(mg_buf *to, uint64_t x) { put(to, &x, sizeof x); }

/* Writes down all that can be seen of the rows of a batch over text[0..n). */
static void note(mg_buf *to, const mg_batch *b, const mg_csv_dialect *d, size_t n, uint64_t *line) {
    for (uint32_t i = 0; i < b->n_rows; i++) {
        const mg_row *row = &b->rows[i];
        CHECK((size_t)row->off + row->len <= n && row->len <= d->max_row);
        CHECK(row->line >= *line && row->count <= d->max_columns);
        CHECK((size_t)row->field + row->count <= b->n_fields);
        CHECK(row->error == MG_R_ok ? row->count > 0 && row->column == 0 : row->count == 0);
        *line = row->line + (row->error == MG_R_ok);
        put_number(to, row->line);
        put_number(to, (uint64_t)row->error << 32 | row->column);
        put_number(to, (uint64_t)row->len << 32 | row->count);
        put(to, b->base + row->off, row->len);
        for (uint32_t k = 0; k < row->count; k++) {
            const mg_field *f = &b->fields[row->field + k];
            uint32_t len = f->len & MG_FIELD_LEN;
            CHECK(f->off >= row->off && (size_t)f->off + len <= (size_t)row->off + row->len);
            CHECK(!(f->len & MG_FIELD_ESCAPED) || f->len & MG_FIELD_QUOTED);
            put_number(to, f->len);
            if (f->len & MG_FIELD_ESCAPED) {
                uint8_t *out = malloc(len ? len : 1);
                CHECK(out);
                size_t made = mg_field_unescape(b->base + f->off, len, d->quote, out);
                CHECK(made < len);
                put(to, out, made);
                free(out);
            } else
                put(to, b->base + f->off, len);
        }
    }
}

/* Reads the text, handing out a piece more each time: `cut` is the seed of their sizes (0: all at once). */
static void read_all(mg_buf *to, const mg_csv_dialect *d, const uint8_t *text, size_t size, uint32_t cut, uint32_t max_rows) {
    static mg_batch b; /* kept from call to call: as in life, its rows are written over */
    mg_csv s;
    uint64_t line = 1;
    size_t start = 0, end = cut ? 0 : size;
    mg_csv_init(&s, d);
    for (;;) {
        size_t used = 0;
        uint8_t *exact = malloc(end - start ? end - start : 1);
        CHECK(exact);
        if (end != start) memcpy(exact, text + start, end - start);
        mg_status st = mg_csv_scan(&s, exact, end - start, end == size, max_rows, &b, &used);
        CHECK(st == MG_OK || st == MG_FULL || st == MG_NEED_MORE);
        CHECK(used <= end - start && b.n_rows <= max_rows && (st == MG_FULL) == (b.n_rows == max_rows));
        note(to, &b, &s.dialect, end - start, &line);
        free(exact);
        start += used;
        if (st == MG_FULL) continue; /* nothing may be used up: the row of a record whose rest is still to be skipped */
        if (end == size) break;
        CHECK(end - start <= (size_t)s.dialect.max_row + 2); /* no more is ever held back */
        cut = cut * 1664525u + 1013904223u;
        end += 1 + (cut >> 16) % (cut >> 31 ? 7 : 400);
        if (end > size) end = size;
    }
    CHECK(start == size);
    put_number(to, s.line);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const uint8_t delimiters[4] = {',', ';', '\t', '|'};
    if (size < 3) return 0;
    mg_csv_dialect d = {.delimiter = delimiters[data[0] & 3], .quote = data[0] & 4 ? (data[0] & 8 ? '\'' : 0) : '"'};
    d.trim = data[0] >> 4 & 1;
    d.max_field = data[1] & 3 ? 1u + (data[1] >> 3 & 31) * (data[1] & 1 ? 1 : 40) : 0;
    d.max_row = data[1] & 4 ? 1u + (data[1] >> 3) * 9u : 0;
    d.max_columns = data[0] & 32 ? 1u + (data[0] >> 6) : 0;
    uint32_t max_rows = data[2] & 1 ? 1u + (data[2] >> 5) : 65536;
    const uint8_t *text = data + 3;
    size -= 3;
    static mg_buf expected, got;
    mg_csv_shape first = {0}, shape;
    expected.len = 0;
    d.lenient = 1;
    read_all(&expected, &d, text, size, 0, 65536);
    d.lenient = 0;
    for (int isa = 0; isa < MG_ISA_COUNT; isa++) {
        if (mg_isa_force((mg_isa)isa) != 0) continue;
        for (int pieces = 0; pieces < 2; pieces++) {
            got.len = 0;
            read_all(&got, &d, text, size, pieces ? data[2] | 1u : 0, pieces ? max_rows : 65536);
            CHECK(got.len == expected.len && memcmp(got.data, expected.data, got.len) == 0);
        }
        mg_csv_structure(&d, text, size, &shape);
        CHECK(shape.strict >= 0 && shape.fields >= shape.records);
        if (isa == MG_ISA_SCALAR) first = shape;
        CHECK(shape.records == first.records && shape.fields == first.fields && shape.strict == first.strict &&
              shape.open == first.open);
    }
    d.lenient = 1; /* and the automaton itself, in pieces */
    got.len = 0;
    read_all(&got, &d, text, size, data[2] | 1u, max_rows);
    CHECK(got.len == expected.len && memcmp(got.data, expected.data, got.len) == 0);
    return 0;
}
