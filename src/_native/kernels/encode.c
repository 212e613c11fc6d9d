/* The encoder: rows of a batch -> lead records, the fields of one lead in PostgreSQL's binary COPY form. Here: what is done
 * once a batch or seldom; encode_body.h has what is done for every row, once per instruction set.
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

/* Bytes that the plan itself may add to any record: heads, NULLs, attribute names, its tags, PAD. */
size_t mg_encode_fixed_cost(const mg_plan *plan) {
    return MG_RECORD_HEAD + 8 * (size_t)MG_LEAD_FIELDS + plan->name_off[plan->columns] + 6 * (size_t)plan->columns +
           plan->tags_len + 64 + PAD;
}

/* ---- checks of a whole record ---- */

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
int mg_encode_count_ok(encoder *e, const mg_row *row) {
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

int mg_encode_bytes_ok(encoder *e, const mg_row *row) {
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

/* ---- rows ---- */

mg_status mg_encode_prepare(encoder *e, const mg_plan *plan, mg_records *out) {
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
mg_status mg_encode_settle(encoder *e, const mg_batch *batch, const mg_row *row, size_t end, mg_records *out) {
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

mg_status mg_encode_refused(encoder *e, mg_records *out, uint32_t i) {
    mg_status st = add_problem(out, i, e);
    e->reason = MG_R_ok;
    return st;
}

mg_status mg_encode_unreadable(encoder *e, mg_records *out, uint32_t i, const mg_row *row) {
    e->reason = (mg_reason)row->error;
    e->where = row->column;
    e->at = 0;
    return mg_encode_refused(e, out, i);
}

/* ---- the instruction sets ---- */

mg_status mg_encode(const mg_plan *plan, const mg_batch *batch, mg_records *out) {
    switch (mg_isa_current()) {
#if defined(__x86_64__)
    case MG_ISA_AVX512: return mg_encode_avx512(plan, batch, out);
    case MG_ISA_AVX2: return mg_encode_avx2(plan, batch, out);
    case MG_ISA_SSE42: return mg_encode_sse42(plan, batch, out);
#elif defined(__aarch64__)
    case MG_ISA_NEON: return mg_encode_neon(plan, batch, out);
#endif
    default: return mg_encode_scalar(plan, batch, out);
    }
}

mg_status mg_encode_row(const mg_plan *plan, const mg_batch *batch, uint32_t row, const uint8_t *email,
                        uint32_t email_len, mg_records *out) {
    switch (mg_isa_current()) {
#if defined(__x86_64__)
    case MG_ISA_AVX512: return mg_encode_row_avx512(plan, batch, row, email, email_len, out);
    case MG_ISA_AVX2: return mg_encode_row_avx2(plan, batch, row, email, email_len, out);
    case MG_ISA_SSE42: return mg_encode_row_sse42(plan, batch, row, email, email_len, out);
#elif defined(__aarch64__)
    case MG_ISA_NEON: return mg_encode_row_neon(plan, batch, row, email, email_len, out);
#endif
    default: return mg_encode_row_scalar(plan, batch, row, email, email_len, out);
    }
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
