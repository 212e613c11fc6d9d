/* Fuzzes rows made from Arrow columns: one column of each kind over buffers of random content and exact size.
 *
 * Holds: nothing outside of the buffers is read, unless offsets that are in order say so; damage ends in MG_CORRUPT; the
 * raw record of every row, scanned as CSV, gives the row's fields again.
 */
#include "arrow.h"

#include <stdlib.h>
#include <string.h>

#define ROWS 6
#define TEXT 48

#define HOLD(what)            \
    do {                      \
        if (!(what)) abort(); \
    } while (0)

typedef struct {
    const uint8_t *p;
    size_t n;
} input;

static uint8_t next(input *in) {
    if (in->n == 0) return 0;
    in->n--;
    return *in->p++;
}

static void *block(input *in, size_t n) {
    uint8_t *p = malloc(n);
    HOLD(p != NULL);
    for (size_t i = 0; i < n; i++) p[i] = next(in);
    return p;
}

/* ROWS + 1 offsets, in order unless the input wants otherwise, up to `limit`. */
static void *offsets(input *in, uint8_t width, uint32_t limit) {
    uint8_t *p = malloc((ROWS + 1) * (size_t)width);
    HOLD(p != NULL);
    int64_t at = 0;
    for (int i = 0; i <= ROWS; i++) {
        uint8_t step = next(in);
        at += step < 250 ? step % (limit / ROWS + 1) : (int64_t)step - 255;
        int32_t narrow = (int32_t)at;
        if (width == 4)
            memcpy(p + 4 * i, &narrow, 4);
        else
            memcpy(p + 8 * i, &at, 8);
    }
    return p;
}

static int64_t last(const void *values, uint8_t width) {
    return width == 4 ? ((const int32_t *)values)[ROWS] : ((const int64_t *)values)[ROWS];
}

static void text_column(input *in, mg_arrow_column *c, uint8_t width, void **keep) {
    c->kind = MG_ARROW_TEXT;
    c->width = width;
    c->length = ROWS;
    c->values = keep[0] = offsets(in, width, TEXT);
    c->data = keep[1] = block(in, TEXT);
    c->data_len = last(c->values, width) < TEXT ? last(c->values, width) : TEXT;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    input in = {data, size};
    mg_arrow_column c[9], dictionary, list, item;
    void *keep[32] = {NULL};
    memset(c, 0, sizeof c);
    memset(&dictionary, 0, sizeof dictionary);
    memset(&item, 0, sizeof item);
    text_column(&in, &c[0], 4, keep);
    text_column(&in, &c[1], 8, keep + 2);
    text_column(&in, &dictionary, 4, keep + 4);
    text_column(&in, &item, 8, keep + 6);

    const uint8_t *blocks[2] = {keep[8] = block(&in, TEXT), keep[9] = block(&in, TEXT)};
    const int64_t block_len[2] = {TEXT, TEXT};
    uint8_t *views = keep[10] = block(&in, 16 * ROWS);
    for (int i = 0; i < ROWS; i++) {
        if (views[16 * i] & 0xc0) continue; /* most as they come, some made to fit */
        int32_t view[4] = {views[16 * i] % 40, 0, views[16 * i + 8] & 1, views[16 * i + 12] % 10};
        memcpy(views + 16 * i, view, 4);
        memcpy(views + 16 * i + 8, view + 2, 8);
    }
    c[2] = (mg_arrow_column){.kind = MG_ARROW_VIEW, .length = ROWS, .values = views, .blocks = blocks,
                             .block_len = block_len, .n_blocks = 2};
    uint8_t width = (uint8_t)(1u << next(&in) % 4);
    c[3] = (mg_arrow_column){.kind = next(&in) & 1 ? MG_ARROW_INT : MG_ARROW_UINT, .width = width, .length = ROWS};
    c[3].values = keep[11] = block(&in, (size_t)width * ROWS);
    static const int64_t units[] = {1, 1000, 1000000, 1000000000};
    c[4] = (mg_arrow_column){.kind = MG_ARROW_TIME, .width = 8, .unit = units[next(&in) % 4], .zoned = next(&in) & 1,
                             .length = ROWS};
    c[4].values = keep[12] = block(&in, 8 * ROWS);
    c[5] = (mg_arrow_column){.kind = MG_ARROW_DAY, .width = next(&in) & 1 ? 4 : 8, .length = ROWS};
    c[5].values = keep[13] = block(&in, 8 * ROWS);
    c[6] = (mg_arrow_column){.kind = MG_ARROW_BOOL, .length = ROWS};
    c[6].values = keep[14] = block(&in, 1);
    c[7] = (mg_arrow_column){.kind = MG_ARROW_DICTIONARY, .width = 1, .negative = next(&in) & 1, .length = ROWS,
                             .child = &dictionary};
    uint8_t *indices = keep[15] = block(&in, ROWS);
    for (int i = 0; i < ROWS; i++)
        if (indices[i] < 200) indices[i] %= ROWS;
    c[7].values = indices;
    list = (mg_arrow_column){.kind = MG_ARROW_LIST, .width = 4, .length = ROWS, .child = &item};
    list.values = keep[16] = offsets(&in, 4, ROWS);
    c[8] = list;
    uint8_t *valid = keep[17] = block(&in, 9);
    for (int i = 0; i < 9; i++) c[i].valid = next(&in) & 1 ? valid + i : NULL;
    for (int i = 0; i < 9; i++)
        if (next(&in) % 8 == 0) c[i].kind = MG_ARROW_NULL;

    mg_arrow_table table = {.columns = c, .n_columns = 1 + next(&in) % 9, .max_field = 20u + next(&in),
                            .max_row = 100u + next(&in), .max_bytes = 1u + next(&in) * 4u};
    mg_buf text;
    mg_batch rows, again;
    mg_buf_init(&text);
    mg_batch_init(&rows);
    mg_batch_init(&again);
    for (int64_t at = 0; at < ROWS;) {
        int64_t made = 0;
        text.len = 0;
        rows.n_rows = rows.n_fields = 0;
        mg_status st = mg_arrow_rows(&table, at, ROWS - at, (uint64_t)at + 1, &text, &rows, &made);
        HOLD(st == MG_OK || st == MG_CORRUPT);
        HOLD(rows.n_rows == made);
        if (st != MG_OK) break;
        HOLD(made > 0);
        at += made;
        for (uint32_t i = 0; i < rows.n_rows; i++) {
            const mg_row *r = &rows.rows[i];
            HOLD((size_t)r->off + r->len < text.len && text.data[r->off + r->len] == '\n');
            if (r->error || r->len == 0) continue;
            mg_csv_dialect dialect = {.delimiter = ',', .quote = '"', .trim = 1};
            mg_csv scanner;
            size_t used;
            mg_csv_init(&scanner, &dialect);
            st = mg_csv_scan(&scanner, text.data + r->off, r->len + 1, 1, 2, &again, &used);
            HOLD(again.n_rows == 1 && again.rows[0].count == r->count && !again.rows[0].error);
            for (uint32_t k = 0; k < r->count; k++) {
                mg_field x = rows.fields[r->field + k], y = again.fields[again.rows[0].field + k];
                HOLD(x.len == y.len);
                HOLD(memcmp(text.data + x.off, again.base + y.off, x.len & MG_FIELD_LEN) == 0);
            }
        }
    }
    mg_buf_free(&text);
    mg_batch_free(&rows);
    mg_batch_free(&again);
    for (size_t i = 0; i < sizeof keep / sizeof *keep; i++) free(keep[i]);
    return 0;
}
