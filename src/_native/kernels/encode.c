/* The encoder: rows of a batch -> lead records, the fields of one lead in PostgreSQL's binary COPY form.
 *
 * Purpose: one pass over the bytes of a row that validates, normalises and writes everything. The fields are written in
 * the order of the record, not of the file, so nothing is moved afterwards; a row with a problem is taken back by not
 * advancing the length.
 *
 * Invariants:
 * - A record is complete or absent; out->records never holds part of one.
 * - A row gives exactly one record or one problem.
 * - All bounds are settled once a row (`worst`), see encode.h for what the parts may rely on.
 * Limits: rows up to 1 GiB (MG_FIELD_LEN), MAX_TAGS tags a lead.
 */
#include "encode.h"
#include "encode_json.h"
#include "encode_tags.h"

/* ---- what a row is allowed to cost ---- */

/* Bytes that the plan itself may add to any record: heads, NULLs, attribute names, its tags, PAD. */
static size_t fixed_cost(const mg_plan *plan) {
    return MG_RECORD_HEAD + 8 * (size_t)MG_LEAD_FIELDS + plan->name_off[plan->columns] + 6 * (size_t)plan->columns +
           plan->tags_len + 64 + PAD;
}

/* The most bytes that n bytes of input become: 6 for a control character in an attribute, 3 for a tag of one letter and
 * its separator. Long records are counted instead of guessed, since 7 times 16 MiB is not worth reserving for nothing. */
static size_t worst(const uint8_t *p, size_t n) {
    if (likely(n <= 4096)) return 7 * n;
    size_t extra = 0;
    for (size_t i = 0; i < n; i++) {
        uint8_t c = p[i];
        extra += (size_t)(c < 0x20) * 5 + (size_t)(c == '"' || c == '\\');
    }
    return n + extra + 4 * (size_t)MAX_TAGS;
}

/* ---- checks of a whole record ---- */

/* So many records are checked for UTF-8 and NUL in one go, which is fastest on long runs and leaves them in the nearest
 * cache; only in a group that fails it is each one checked alone. */
#define GROUP 128u

/* Where the byte at `bad` of the record belongs: the last field that begins before it. */
static void blame_encoding(encoder *e, const mg_row *row, uint32_t bad) {
    uint32_t column = 0;
    e->reason = MG_R_row_encoding;
    e->where = e->at = 0;
    for (uint32_t i = 0; i < row->count; i++)
        if (e->fields[i].off <= row->off + bad) column = i;
    if (row->count == 0) return;
    mg_field f = e->fields[column];
    e->where = column;
    if (row->off + bad < f.off) return;
    uint32_t at = row->off + bad - f.off, n = f.len & MG_FIELD_LEN;
    if (at > n) at = n;
    if (f.len & MG_FIELD_ESCAPED) at = (uint32_t)mg_field_unescape(e->base + f.off, at, (uint8_t)e->plan->quote, e->text);
    e->at = at;
}

/* More or fewer fields than the plan has columns: may they be overlooked? */
static int count_ok(encoder *e, const mg_row *row) {
    uint32_t want = e->plan->columns, column = row->count;
    if (row->count < want) {
        if (e->plan->pad) {
            mg_field none = {row->off, 0};
            for (uint32_t i = 0; i < want; i++) e->padded[i] = i < row->count ? e->fields[i] : none;
            e->fields = e->padded;
            return 1;
        }
    } else {
        for (column = want; column < row->count && field_value(e, column).n == 0;) column++;
        if (column == row->count) return 1;
    }
    e->reason = MG_R_row_fields;
    e->where = column;
    e->at = 0;
    return 0;
}

static int bytes_ok(encoder *e, const mg_row *row) {
    const uint8_t *p = e->base + row->off;
    size_t good = mg_utf8_valid(p, row->len);
    if (good < row->len) {
        blame_encoding(e, row, (uint32_t)good);
        return 0;
    }
    e->nul = mg_utf8_has_nul(p, row->len);
    return 1;
}

/* ---- fields ---- */

value mg_escaped_value(encoder *e, uint32_t column) {
    mg_field f = e->fields[column];
    size_t n = mg_field_unescape(e->base + f.off, f.len & MG_FIELD_LEN, (uint8_t)e->plan->quote, e->text);
    return trimmed(e->text, (uint32_t)n);
}

int mg_text_refused(encoder *e, uint32_t column, value v) {
    if (e->nul) {
        const uint8_t *nul = memchr(v.p, 0, v.n);
        if (nul) {
            refuse(e, column, MG_R_field_nul, v.lead + (uint32_t)(nul - v.p));
            return 1;
        }
    }
    uint32_t max = e->plan->max_chars[column], i = 0;
    if (v.n <= max) return 0;
    for (uint32_t chars = 0; i < v.n; i++) /* every byte but a continuation begins a character */
        if ((v.p[i] & 0xc0) != 0x80 && chars++ == max) break;
    if (i == v.n) return 0;
    refuse(e, column, MG_R_field_too_long, v.lead + i);
    return 1;
}

static __attribute__((noinline)) value odd_text(encoder *e, uint32_t column) {
    value v = field_value(e, column);
    if (!text_ok(e, column, v)) v.n = 0;
    return v;
}

static inline uint8_t *put_text(encoder *e, view w, uint32_t column, uint8_t *o) {
    const uint8_t *p;
    uint32_t n;
    if (unlikely(!is_plain(w, column, &p, &n))) {
        value v = odd_text(e, column);
        p = v.p, n = v.n;
    }
    put32(o, n | (0 - (uint32_t)(n == 0))); /* -1 if empty, without a branch: they come and go without a pattern */
    copy_short(o + 4, p, n);
    return o + 4 + n;
}

static uint8_t *put_status(encoder *e, view w, uint32_t column, uint8_t *o) {
    static const struct {
        uint8_t n;
        char name[16];
    } known[] = {{6, "active"}, {12, "unsubscribed"}, {7, "bounced"}, {10, "complained"}, {7, "pending"}};
    value v = short_value(e, w, column);
    if (v.n == 0) return put_null(o);
    if (v.n <= 12) {
        uint8_t lower[16] = {0};
        for (uint32_t i = 0; i < v.n; i++) lower[i] = v.p[i] >= 'A' && v.p[i] <= 'Z' ? v.p[i] | 0x20 : v.p[i];
        for (size_t k = 0; k < sizeof known / sizeof *known; k++)
            if (known[k].n == v.n && memcmp(lower, known[k].name, 16) == 0) {
                put32(o, v.n);
                memcpy(o + 4, lower, 16);
                return o + 4 + v.n;
            }
    }
    refuse(e, column, MG_R_status_unknown, v.lead);
    return put_null(o);
}

static uint8_t *put_score(encoder *e, view w, uint32_t column, uint8_t *o) {
    value v = short_value(e, w, column);
    if (v.n == 0) return put_null(o);
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    if (v.n <= 8) { /* eight digits at once, zeros put in front */
        uint64_t d;
        memcpy(&d, v.p, 8);
        d = (d ^ UINT64_C(0x3030303030303030)) << (64 - 8 * v.n);
        if (((d + UINT64_C(0x7676767676767676)) | d) & UINT64_C(0x8080808080808080)) goto by_byte;
        d = (d * 10 + (d >> 8)) & UINT64_C(0x00ff00ff00ff00ff); /* in each pair: tens * 10 + ones */
        d = (d * 100 + (d >> 16)) & UINT64_C(0x0000ffff0000ffff);
        put32(o, 4);
        put32(o + 4, (uint32_t)(d * 10000 + (d >> 32)));
        return o + 8;
    }
by_byte:;
#endif
    uint32_t i = v.p[0] == '-' || v.p[0] == '+', first = i;
    int64_t x = 0;
    for (; i < v.n && (uint8_t)(v.p[i] - '0') < 10; i++)
        if (x <= INT32_MAX) x = x * 10 + (v.p[i] - '0'); /* past that it only has to stay too large */
    if (i < v.n || i == first) {
        refuse(e, column, MG_R_int_syntax, v.lead + i);
        return put_null(o);
    }
    if (v.p[0] == '-') x = -x;
    if (x > INT32_MAX || x < INT32_MIN) {
        refuse(e, column, MG_R_int_range, v.lead);
        return put_null(o);
    }
    put32(o, 4);
    put32(o + 4, (uint32_t)x);
    return o + 8;
}

static uint8_t *put_created_at(encoder *e, view w, uint32_t column, uint8_t *o) {
    value v = short_value(e, w, column);
    if (v.n == 0) return put_null(o);
    int64_t micros;
    uint32_t at;
    mg_reason reason = mg_timestamp_parse(v.p, v.n, e->plan->dates, &micros, &at);
    if (reason != MG_R_ok) {
        refuse(e, column, reason, v.lead + at);
        return put_null(o);
    }
    put32(o, 8);
    put64(o + 4, (uint64_t)micros);
    return o + 12;
}

static inline uint8_t *put_email(encoder *e, view w, uint8_t *o) {
    int32_t column = e->column[MG_LEAD_EMAIL];
    value v = {e->text, 0, 0};
    if (likely(column >= 0)) v = short_value(e, w, (uint32_t)column);
    uint32_t at = 0;
    mg_reason reason = mg_address_check(v.p, v.n, e->plan->address_options, o + 4, &at);
    if (reason != MG_R_ok) {
        e->reason = reason;
        e->where = column < 0 ? 0 : (uint32_t)column;
        e->at = v.lead + at;
        return o;
    }
    put32(o, v.n);
    return o + 4 + v.n;
}

/* Everything but the e-mail. */
static inline uint8_t *put_rest(encoder *e, view w, uint8_t *o) {
    for (int f = MG_LEAD_FIRST_NAME; f <= MG_LEAD_COUNTRY; f++)
        o = e->column[f] < 0 ? put_null(o) : put_text(e, w, (uint32_t)e->column[f], o);
    o = e->column[MG_LEAD_TAGS] < 0 ? put_null(o) : put_tags(e, w, (uint32_t)e->column[MG_LEAD_TAGS], o);
    o = e->n_attributes ? put_attributes(e, w, o) : put_null(o);
    o = e->column[MG_LEAD_STATUS] < 0 ? put_null(o) : put_status(e, w, (uint32_t)e->column[MG_LEAD_STATUS], o);
    o = e->column[MG_LEAD_SCORE] < 0 ? put_null(o) : put_score(e, w, (uint32_t)e->column[MG_LEAD_SCORE], o);
    return e->column[MG_LEAD_CREATED_AT] < 0 ? put_null(o) : put_created_at(e, w, (uint32_t)e->column[MG_LEAD_CREATED_AT], o);
}

/* ---- rows ---- */

static mg_status prepare(encoder *e, const mg_plan *plan, mg_records *out) {
    size_t names = plan->name_off[plan->columns], head = sizeof(attribute) * (size_t)plan->columns;
    out->columns.len = 0;
    mg_status st = mg_buf_reserve(&out->columns, head + names + (12 + sizeof(mg_field)) * (size_t)plan->columns + PAD);
    if (st != MG_OK) return st;
    attribute *list = (attribute *)(void *)out->columns.data;
    mg_field *padded = (mg_field *)(void *)(out->columns.data + head);
    uint32_t *zeros = (uint32_t *)(void *)(padded + plan->columns);
    uint32_t *limits = zeros + plan->columns;
    uint8_t *prefixes = (uint8_t *)(limits + plan->columns);
    memset(zeros, 0, sizeof *zeros * (size_t)plan->columns);
    memset(e, 0, sizeof *e);
    memset(e->column, 0xff, sizeof e->column);
    if ((st = mg_buf_reserve(&out->text, PAD)) != MG_OK) return st;
    e->text = out->text.data;
    e->room = out->text.cap - PAD < UINT32_MAX ? (uint32_t)(out->text.cap - PAD) : UINT32_MAX;
    e->plan = plan;
    e->attributes = list;
    e->zeros = zeros;
    e->limits = limits;
    e->padded = padded;
    e->prefixes = prefixes;
    uint32_t off = 0;
    for (uint32_t i = 0; i < plan->columns; i++) {
        int target = plan->target[i];
        limits[i] = plan->max_chars[i] < INT32_MAX ? plan->max_chars[i] : INT32_MAX;
        if (target >= 0 && target < MG_LEAD_FIELDS) e->column[target] = (int32_t)i;
        if (target != MG_TARGET_ATTRIBUTE) continue;
        uint32_t n = plan->name_off[i + 1] - plan->name_off[i];
        attribute a = {i, off, n + 3};
        prefixes[off] = ',';
        memcpy(prefixes + off + 1, plan->names + plan->name_off[i], n);
        prefixes[off + 1 + n] = ':';
        prefixes[off + 2 + n] = '"';
        off += n + 3;
        list[e->n_attributes++] = a;
    }
    return MG_OK;
}

static mg_status add_problem(mg_records *out, uint32_t row, const encoder *e) {
    if (out->n_problems == out->cap_problems) {
        size_t cap = out->cap_problems ? 2 * out->cap_problems : 64;
        mg_problem *q = mg_realloc(out->problems, out->n_problems * sizeof *q, cap * sizeof *q);
        if (!q) return MG_NOMEM;
        out->problems = q;
        out->cap_problems = cap;
    }
    mg_problem problem = {row, e->where, (uint32_t)e->reason, e->at};
    out->problems[out->n_problems++] = problem;
    return MG_OK;
}

/* A record that is longer than any before, or so near the end of the batch that PAD bytes behind it cannot be read: makes
 * room for its unescaped fields, and copies it. */
static mg_status settle(encoder *e, const mg_batch *batch, const mg_row *row, size_t end, mg_records *out) {
    size_t room = (size_t)row->len + PAD;
    mg_status st = mg_buf_reserve(&out->text, room);
    if (st != MG_OK) return st;
    e->text = out->text.data;
    if (row->len > e->room) e->room = row->len;
    if ((size_t)row->off + row->len + PAD <= end) return MG_OK;
    st = mg_buf_reserve(&out->scratch, room);
    if (st != MG_OK) return st;
    memset(out->scratch.data + row->len, 0, PAD);
    if (row->len) memcpy(out->scratch.data, batch->base + row->off, row->len);
    e->base = (const uint8_t *)((uintptr_t)out->scratch.data - row->off); /* offsets count from the batch's base */
    return MG_OK;
}

static __attribute__((noinline)) mg_status refused(encoder *e, mg_records *out, uint32_t i) {
    mg_status st = add_problem(out, i, e);
    e->reason = MG_R_ok;
    return st;
}

static __attribute__((noinline)) mg_status unreadable(encoder *e, mg_records *out, uint32_t i, const mg_row *row) {
    e->reason = (mg_reason)row->error;
    e->where = row->column;
    e->at = 0;
    return refused(e, out, i);
}

/* One row; email NULL: the one in the row. `clean`: its bytes are known to be UTF-8 without NUL. */
static inline __attribute__((always_inline)) mg_status encode_one(encoder *e, const mg_batch *batch, uint32_t i, size_t end,
                                                                  size_t fixed, int clean, const uint8_t *email,
                                                                  uint32_t email_len, mg_records *out) {
    const mg_row *row = &batch->rows[i];
    if (unlikely(row->error != MG_R_ok)) return unreadable(e, out, i, row);
    e->base = batch->base;
    e->fields = batch->fields + row->field;
    if (unlikely(row->len > e->room || (size_t)row->off + row->len + PAD > end)) {
        mg_status st = settle(e, batch, row, end, out);
        if (st != MG_OK) return st;
    }
    if (unlikely(row->count != e->plan->columns) && !count_ok(e, row)) return refused(e, out, i);
    e->nul = 0;
    if (unlikely(!clean) && !bytes_ok(e, row)) return refused(e, out, i);
    size_t need = worst(e->base + row->off, row->len) + fixed + email_len;
    if (unlikely(out->records.cap - out->records.len < need || need > INT32_MAX)) {
        if (need > INT32_MAX) { /* no column of PostgreSQL would take it */
            e->reason = MG_R_row_too_long;
            e->where = e->at = 0;
            return refused(e, out, i);
        }
        mg_status st = mg_buf_reserve(&out->records, need);
        if (st != MG_OK) return st;
    }
    const view w = {e->base, e->fields, likely(!(e->nul | e->plan->untrimmed)) ? e->limits : e->zeros};
    uint8_t *start = out->records.data + out->records.len, *o = start + MG_RECORD_HEAD;
    if (email) {
        put32(o, email_len);
        memcpy(o + 4, email, email_len);
        o += 4 + email_len;
    } else {
        o = put_email(e, w, o);
        if (unlikely(e->reason != MG_R_ok)) return refused(e, out, i);
    }
    o = put_rest(e, w, o);
    if (unlikely(e->reason != MG_R_ok)) return refused(e, out, i);
    uint32_t size = (uint32_t)(o - start);
    memcpy(start, &size, 4);
    memcpy(start + 4, &row->line, 8);
    out->records.len += size;
    out->n_records++;
    return MG_OK;
}

static size_t batch_end(const mg_batch *batch) {
    if (batch->n_rows == 0) return 0;
    const mg_row *last = &batch->rows[batch->n_rows - 1];
    return (size_t)last->off + last->len;
}

mg_status mg_encode(const mg_plan *plan, const mg_batch *batch, mg_records *out) {
    encoder e;
    mg_status st = prepare(&e, plan, out);
    if (st != MG_OK) return st;
    size_t len = out->records.len, n_records = out->n_records, n_problems = out->n_problems;
    size_t end = batch_end(batch), fixed = fixed_cost(plan);
    for (uint32_t first = 0; first < batch->n_rows;) {
        uint32_t stop = batch->n_rows - first > GROUP ? first + GROUP : batch->n_rows;
        const mg_row *last = &batch->rows[stop - 1];
        const uint8_t *p = batch->base + batch->rows[first].off;
        size_t stops = (size_t)last->off + last->len, n = stops - batch->rows[first].off;
        int clean = stops >= batch->rows[first].off && mg_utf8_valid(p, n) == n && !mg_utf8_has_nul(p, n);
        for (; first < stop; first++) {
            st = encode_one(&e, batch, first, end, fixed, clean, NULL, 0, out);
            if (unlikely(st != MG_OK)) {
                out->records.len = len;
                out->n_records = n_records;
                out->n_problems = n_problems;
                return st;
            }
        }
    }
    return MG_OK;
}

mg_status mg_encode_row(const mg_plan *plan, const mg_batch *batch, uint32_t row, const uint8_t *email,
                        uint32_t email_len, mg_records *out) {
    encoder e;
    mg_status st = prepare(&e, plan, out);
    if (st != MG_OK) return st;
    return encode_one(&e, batch, row, batch_end(batch), fixed_cost(plan), 0, email, email_len, out);
}

void mg_records_init(mg_records *r) { memset(r, 0, sizeof *r); }

void mg_records_clear(mg_records *r) {
    r->records.len = 0;
    r->n_records = 0;
    r->n_problems = 0;
}

void mg_records_free(mg_records *r) {
    mg_buf_free(&r->records);
    mg_buf_free(&r->scratch);
    mg_buf_free(&r->text);
    mg_buf_free(&r->columns);
    mg_free(r->problems);
    mg_records_init(r);
}
