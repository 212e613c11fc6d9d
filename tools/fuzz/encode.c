/* Fuzzes the encoder: a plan made from the first bytes, then delimited text that is scanned and encoded.
 *
 * Holds: every row gives one record or one problem; every record is well formed, field by field (UTF-8 without NUL,
 * JSON, text[], lengths); every instruction set gives the same bytes; nothing is read outside of the input, which is
 * copied into a block of exactly its size.
 *
 * Input: number of columns, a target and a limit for each, options, dates, separator, quote; the rest is the text.
 */
#include "mg.h"

#include <stdlib.h>
#include <string.h>

#define MAX_COLUMNS 12
#define FEW_ROWS 5 /* a batch: small, so that many records stand at the end of one, then more and more, up to */
#define MANY_ROWS 320

#define HOLD(what)                 \
    do {                           \
        if (!(what)) abort();      \
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

static uint32_t be32(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void check_text(const uint8_t *p, size_t n) {
    HOLD(n > 0);
    HOLD(mg_utf8_valid(p, n) == n);
    HOLD(!mg_utf8_has_nul(p, n));
}

static void check_tags(const uint8_t *p, size_t n) {
    HOLD(n >= 20 && be32(p) == 1 && be32(p + 4) == 0 && be32(p + 8) == 25 && be32(p + 16) == 1);
    uint32_t count = be32(p + 12);
    size_t at = 20;
    HOLD(count > 0);
    for (uint32_t i = 0; i < count; i++) {
        HOLD(n - at >= 4);
        uint32_t len = be32(p + at);
        at += 4;
        HOLD(len <= n - at);
        check_text(p + at, len);
        for (size_t other = 20; other < at - 4; other += 4 + be32(p + other))
            HOLD(be32(p + other) != len || memcmp(p + other + 4, p + at, len) != 0);
        at += len;
    }
    HOLD(at == n);
}

static size_t check_string(const uint8_t *p, size_t at, size_t n) {
    HOLD(at < n && p[at] == '"');
    for (at++; at < n && p[at] != '"'; at++) {
        HOLD(p[at] >= 0x20);
        if (p[at] != '\\') continue;
        HOLD(++at < n && memchr("\"\\/bfnrtu", p[at], 9) != NULL);
        if (p[at] == 'u') {
            HOLD(n - at > 4 && memcmp(p + at, "u0000", 5) != 0);
            for (int k = 0; k < 4; k++) HOLD(memchr("0123456789abcdef", p[++at], 16) != NULL);
        }
    }
    HOLD(at < n);
    return at + 1;
}

static void check_attributes(const uint8_t *p, size_t n) {
    HOLD(n > 3 && p[0] == 1 && p[1] == '{' && p[n - 1] == '}');
    check_text(p + 1, n - 1);
    size_t at = 1;
    do {
        at = check_string(p, at + 1, n);
        HOLD(at < n && p[at] == ':');
        at = check_string(p, at + 1, n);
        HOLD(at < n);
    } while (p[at] == ',');
    HOLD(at == n - 1);
}

static void check_records(const mg_records *r) {
    const uint8_t *p = r->records.data;
    size_t at = 0, count = 0;
    while (at < r->records.len) {
        uint32_t size;
        uint64_t line;
        HOLD(r->records.len - at >= MG_RECORD_HEAD + 4 * (size_t)MG_LEAD_FIELDS);
        memcpy(&size, p + at, 4);
        memcpy(&line, p + at + 4, 8);
        HOLD(size <= r->records.len - at && line >= 1);
        size_t end = at + size;
        at += MG_RECORD_HEAD;
        for (int f = 0; f < MG_LEAD_FIELDS; f++) {
            HOLD(end - at >= 4);
            uint32_t n = be32(p + at);
            at += 4;
            if (n == UINT32_MAX) {
                HOLD(f != MG_LEAD_EMAIL);
                continue;
            }
            HOLD(n <= end - at);
            if (f == MG_LEAD_TAGS) {
                check_tags(p + at, n);
            } else if (f == MG_LEAD_ATTRIBUTES) {
                check_attributes(p + at, n);
            } else if (f == MG_LEAD_SCORE) {
                HOLD(n == 4);
            } else if (f == MG_LEAD_CREATED_AT) {
                HOLD(n == 8);
            } else {
                check_text(p + at, n);
            }
            at += n;
        }
        HOLD(at == end);
        count++;
    }
    HOLD(count == r->n_records);
}

/* Scans and encodes everything; the records of all batches together are left in `all`. */
static void run(const mg_plan *plan, const mg_csv_dialect *dialect, const uint8_t *text, size_t n, mg_buf *all) {
    mg_csv scanner;
    mg_batch batch;
    mg_records r;
    mg_csv_init(&scanner, dialect);
    mg_batch_init(&batch);
    mg_records_init(&r);
    uint32_t rows = FEW_ROWS;
    for (size_t at = 0; at < n; rows = rows < MANY_ROWS ? 2 * rows : FEW_ROWS) {
        size_t used = 0;
        mg_status st = mg_csv_scan(&scanner, text + at, n - at, 1, rows, &batch, &used);
        HOLD(st == MG_OK || st == MG_FULL || st == MG_NEED_MORE);
        if (used == 0) break;
        at += used;
        HOLD(mg_encode(plan, &batch, &r) == MG_OK);
        HOLD(r.n_records + r.n_problems == batch.n_rows);
        size_t problems = r.n_problems;
        for (size_t i = 0; i < problems; i++) {
            mg_problem found = r.problems[i];
            HOLD(found.row < batch.n_rows && found.reason != MG_R_ok && found.reason < MG_REASON_COUNT);
            HOLD(found.at <= batch.rows[found.row].len);
            if (found.reason != MG_R_email_idn) continue;
            size_t before = r.n_records + r.n_problems;
            HOLD(mg_encode_row(plan, &batch, found.row, (const uint8_t *)"x@xn--bcher-kva.example", 23, &r) == MG_OK);
            HOLD(r.n_records + r.n_problems == before + 1);
            HOLD(r.problems[r.n_problems - 1].reason != MG_R_email_idn || r.n_problems == problems);
        }
        check_records(&r);
        HOLD(mg_buf_put(all, r.records.data, r.records.len) == MG_OK);
        HOLD(mg_buf_put(all, r.problems, r.n_problems * sizeof *r.problems) == MG_OK);
        mg_records_clear(&r);
    }
    mg_records_free(&r);
    mg_batch_free(&batch);
}

/* Text in the shape of a date, digits and one other byte taken from the input, in a block of exactly its size. */
static void check_dates(const uint8_t *p, size_t n) {
    static const char *const shapes[] = {
        "0000-00-00", "00000000", "0000/00/00 00:00", "0000-00-00T00:00:00Z", "0000-00-00 00:00:00.000000+00:00",
        "00/00/0000", "0.0.0000 0:00 PM", "00-00-0000 00:00:00 AM", "00/00/0000  00:00:00,0 UTC", "0000-00-00t00:00 -0000",
        ""};
    input in = {p, n};
    for (size_t k = 0; k < sizeof shapes / sizeof *shapes; k++) {
        size_t len = strlen(shapes[k]);
        uint8_t *exact = malloc(len ? len : 1), change = next(&in);
        HOLD(exact != NULL);
        for (size_t i = 0; i < len; i++) {
            uint8_t c = next(&in);
            exact[i] = shapes[k][i] != '0' ? (uint8_t)shapes[k][i] : c < 128 ? '0' + c % 3 : '0' + c % 10;
        }
        if (change < len) exact[change] = next(&in);
        for (size_t cut = 0; cut < 3 && cut <= len; cut++) {
            int64_t micros = INT64_MIN;
            uint32_t at = 0;
            for (uint8_t order = 0; order < 3; order++) {
                if (mg_timestamp_parse(exact + cut, len - cut, order, &micros, &at) != MG_R_ok)
                    HOLD(at <= len);
                else
                    HOLD(micros >= INT64_C(-63082281600000000) && micros <= INT64_C(252455615999999999));
            }
        }
        free(exact);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char separators[] = {0, ';', ',', '|', '/'};
    static const char name[] = "\"a \\\"name\\\"\"";
    input in = {data, size};
    uint32_t columns = 1 + next(&in) % MAX_COLUMNS, limits[MAX_COLUMNS], offsets[MAX_COLUMNS + 1] = {0};
    int16_t targets[MAX_COLUMNS];
    uint8_t names[MAX_COLUMNS * sizeof name];
    for (uint32_t i = 0; i < columns; i++) {
        uint8_t t = next(&in) % 16;
        targets[i] = t == MG_LEAD_ATTRIBUTES || t == 12 || t == 13 ? MG_TARGET_ATTRIBUTE : t < 12 ? t : MG_TARGET_IGNORE;
        if (i == 0) targets[i] = MG_LEAD_EMAIL;
        for (uint32_t k = 0; k < i; k++)
            if (targets[i] >= 0 && targets[k] == targets[i]) targets[i] = MG_TARGET_ATTRIBUTE;
        limits[i] = next(&in);
        offsets[i + 1] = offsets[i];
        if (targets[i] == MG_TARGET_ATTRIBUTE) {
            memcpy(names + offsets[i], name, sizeof name - 1);
            offsets[i + 1] += sizeof name - 1;
        }
    }
    uint8_t options = next(&in), choice = next(&in);
    mg_plan plan = {.columns = columns, .pad = options & 1, .target = targets, .max_chars = limits, .names = names,
                    .name_off = offsets, .address_options = options >> 1 & 3, .dates = choice % 3,
                    .tag_separator = (uint8_t)separators[choice / 3 % 5], .tags = (const uint8_t *)"\0\0\0\1a\0\0\0\2ow",
                    .tags_len = options & 8 ? 11 : 0, .n_tags = options & 8 ? 2 : 0, .untrimmed = options >> 6 & 1,
                    .quote = options & 16 ? '\'' : '"'};
    mg_csv_dialect dialect = {.delimiter = options & 32 ? '\t' : ',', .quote = (uint8_t)plan.quote,
                              .trim = !plan.untrimmed, .max_field = 1 << 20, .max_row = 1 << 22, .max_columns = 64};
    uint8_t *text = malloc(in.n ? in.n : 1);
    HOLD(text != NULL);
    if (in.n) memcpy(text, in.p, in.n);

    mg_isa before = mg_isa_current();
    mg_buf first, other;
    mg_buf_init(&first);
    mg_buf_init(&other);
    for (int isa = 0; isa < MG_ISA_COUNT; isa++) {
        if (mg_isa_force((mg_isa)isa) != 0) continue;
        mg_buf *all = isa == MG_ISA_SCALAR ? &first : &other;
        all->len = 0;
        run(&plan, &dialect, text, in.n, all);
        if (all == &other) HOLD(other.len == first.len && (first.len == 0 || memcmp(first.data, other.data, first.len) == 0));
    }
    mg_isa_force(before);
    mg_buf_free(&first);
    mg_buf_free(&other);

    check_dates(text, in.n);
    free(text);
    return 0;
}
