/* encode_body.h: what is done for every row, once per instruction set. Included behind a simd header and, where there are
 * vectors, the header that recognises addresses with them (address_avx2.h and its like); all in one function in the end,
 * since calls in between cost a tenth of the time.
 */
#include "address.h"
#include "dates.h"
#include "encode.h"
#include "encode_json.h"
#include "encode_tags.h"

#define MG_JOIN2(a, b) a##b
#define MG_JOIN(a, b) MG_JOIN2(a, b)
#define MG_NAME(stem) MG_JOIN(stem, MG_SUFFIX)
#if defined(MG_ADDRESS_GOOD_H)
#define RECOGNISED 1
#define ADDRESS_CHECK suffix(mg_address_check)
#else
#define RECOGNISED 0
#define ADDRESS_CHECK mg_address_judge
#endif

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

/* ---- fields ---- */

static __attribute__((noinline)) value odd_text(encoder *e, uint32_t column) {
    value v = field_value(e, column);
    if (!text_ok(e, column, v)) v.n = 0;
    return v;
}

INLINED uint8_t *put_text(encoder *e, view w, uint32_t column, uint8_t *o) {
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

INLINED uint8_t *put_status(encoder *e, view w, uint32_t column, uint8_t *o) {
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

INLINED uint8_t *put_score(encoder *e, view w, uint32_t column, uint8_t *o) {
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

INLINED uint8_t *put_created_at(encoder *e, view w, uint32_t column, uint8_t *o) {
    value v = short_value(e, w, column);
    if (v.n == 0) return put_null(o);
    int64_t micros;
    uint32_t at;
    mg_reason reason = MG_R_ok;
    if (unlikely(!mg_usual_date(v.p, v.n, e->plan->dates, &micros)))
        reason = mg_timestamp_parse(v.p, v.n, e->plan->dates, &micros, &at);
    if (reason != MG_R_ok) {
        refuse(e, column, reason, v.lead + at);
        return put_null(o);
    }
    put32(o, 8);
    put64(o + 4, (uint64_t)micros);
    return o + 12;
}

INLINED uint8_t *put_email(encoder *e, view w, int good_one, uint8_t *o) {
    int32_t column = e->column[MG_LEAD_EMAIL];
    value v = {e->text, 0, 0};
#if RECOGNISED
    if (likely(good_one)) {
        (void)is_plain(w, (uint32_t)column, &v.p, &v.n);
        lower_slack(o + 4, v.p, v.n);
        put32(o, v.n);
        return o + 4 + v.n;
    }
#endif
    if (likely(column >= 0)) v = short_value(e, w, (uint32_t)column);
    uint32_t at = 0;
    mg_reason reason = ADDRESS_CHECK(v.p, v.n, e->plan->address_options, o + 4, &at);
    if (reason != MG_R_ok) {
        e->reason = reason;
        e->where = column < 0 ? 0 : (uint32_t)column;
        e->at = v.lead + at;
        return o;
    }
    put32(o, v.n);
    return o + 4 + v.n;
}

/* Everything but the e-mail. Not a call, since `w` would be passed in memory: written by words and read as a vector, it has
 * to wait for the writes to be done. */
INLINED uint8_t *put_rest(encoder *e, view w, tags_memo *memo, uint8_t *o) {
    for (int f = MG_LEAD_FIRST_NAME; f <= MG_LEAD_COUNTRY; f++)
        o = e->column[f] < 0 ? put_null(o) : put_text(e, w, (uint32_t)e->column[f], o);
    o = e->column[MG_LEAD_TAGS] < 0 ? put_null(o) : put_tags(e, w, memo, (uint32_t)e->column[MG_LEAD_TAGS], o);
    o = e->n_attributes ? put_attributes(e, w, o) : put_null(o);
    o = e->column[MG_LEAD_STATUS] < 0 ? put_null(o) : put_status(e, w, (uint32_t)e->column[MG_LEAD_STATUS], o);
    o = e->column[MG_LEAD_SCORE] < 0 ? put_null(o) : put_score(e, w, (uint32_t)e->column[MG_LEAD_SCORE], o);
    return e->column[MG_LEAD_CREATED_AT] < 0 ? put_null(o) : put_created_at(e, w, (uint32_t)e->column[MG_LEAD_CREATED_AT], o);
}

/* ---- rows ---- */

/* So many records are checked for UTF-8 and NUL in one go, which is fastest on long runs and leaves them in the nearest
 * cache; only in a group that fails it is each one checked alone. */
#define GROUP 128u

/* One row; email NULL: the one in the row. `clean`: its bytes are known to be UTF-8 without NUL. `good_one`: its e-mail is
 * known to be good. */
INLINED mg_status encode_one(encoder *e, const mg_batch *batch, uint32_t i, size_t end, size_t fixed, int clean, int good_one,
                             const uint8_t *email, uint32_t email_len, tags_memo *memo, mg_records *out) {
    const mg_row *row = &batch->rows[i];
    if (unlikely(row->error != MG_R_ok)) return mg_encode_unreadable(e, out, i, row);
    e->base = batch->base;
    e->fields = batch->fields + row->field;
    if (unlikely(row->len > e->room || (size_t)row->off + row->len + PAD > end)) {
        mg_status st = mg_encode_settle(e, batch, row, end, out);
        if (st != MG_OK) return st;
    }
    if (unlikely(row->count != e->plan->columns) && !mg_encode_count_ok(e, row)) return mg_encode_refused(e, out, i);
    e->nul = 0;
    if (unlikely(!clean) && !mg_encode_bytes_ok(e, row)) return mg_encode_refused(e, out, i);
    size_t need = worst(e->base + row->off, row->len) + fixed + email_len;
    if (unlikely(out->records.cap - out->records.len < need || need > INT32_MAX)) {
        if (need > INT32_MAX) { /* no column of PostgreSQL would take it */
            e->reason = MG_R_row_too_long;
            e->where = e->at = 0;
            return mg_encode_refused(e, out, i);
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
        o = put_email(e, w, good_one, o);
        if (unlikely(e->reason != MG_R_ok)) return mg_encode_refused(e, out, i);
    }
    o = put_rest(e, w, memo, o);
    if (unlikely(e->reason != MG_R_ok)) return mg_encode_refused(e, out, i);
    uint32_t size = (uint32_t)(o - start);
    memcpy(start, &size, 4);
    memcpy(start + 4, &row->line, 8);
    out->records.len += size;
    out->n_records++;
    return MG_OK;
}

/* Which rows of a group have an e-mail address that needs nothing but to be copied in lower case, one bit each: a loop of
 * its own, in which many addresses are decided side by side. Only those that PAD bytes may be read behind. */
static __attribute__((noinline)) void find_good(const encoder *e, const mg_batch *batch, uint32_t first, uint32_t stop,
                                                size_t end, int clean, uint64_t goods[GROUP / 64]) {
    memset(goods, 0, GROUP / 8);
#if RECOGNISED
    int32_t column = e->column[MG_LEAD_EMAIL];
    if (column < 0 || !clean || e->plan->untrimmed) return;
    sheet s;
    for (; first < stop; first += BLOCK) {
        uint32_t count = stop - first < BLOCK ? stop - first : BLOCK;
        for (uint32_t i = 0; i < count; i++) {
            const mg_row *row = &batch->rows[first + i];
            const view w = {batch->base, batch->fields + row->field, e->limits};
            const uint8_t *p;
            uint32_t n;
            if (likely(row->count > (uint32_t)column && (size_t)row->off + row->len + PAD <= end &&
                       is_plain(w, (uint32_t)column, &p, &n) && ORDINARY(n)))
                enter(&s, i, marks_slack(p, n), p, n);
            else
                enter_nothing(&s, i);
        }
        *goods++ = ~in_doubt(&s, count, e->plan->address_options);
    }
#endif
}

static size_t batch_end(const mg_batch *batch) {
    if (batch->n_rows == 0) return 0;
    const mg_row *last = &batch->rows[batch->n_rows - 1];
    return (size_t)last->off + last->len;
}

mg_status MG_NAME(mg_encode_)(const mg_plan *plan, const mg_batch *batch, mg_records *out) {
    encoder e;
    mg_status st = mg_encode_prepare(&e, plan, out);
    if (st != MG_OK) return st;
    size_t len = out->records.len, n_records = out->n_records, n_problems = out->n_problems;
    size_t end = batch_end(batch), fixed = mg_encode_fixed_cost(plan);
    uint64_t goods[GROUP / 64];
    tags_memo memo[MEMO_SLOTS + 1];
    memo_init(memo);
    for (uint32_t first = 0; first < batch->n_rows;) {
        uint32_t stop = batch->n_rows - first > GROUP ? first + GROUP : batch->n_rows;
        const mg_row *last = &batch->rows[stop - 1];
        const uint8_t *p = batch->base + batch->rows[first].off;
        size_t stops = (size_t)last->off + last->len, n = stops - batch->rows[first].off;
        int clean = stops >= batch->rows[first].off && mg_utf8_valid(p, n) == n && !mg_utf8_has_nul(p, n);
        find_good(&e, batch, first, stop, end, clean, goods);
        for (uint32_t i = 0; first < stop; first++, i++) {
            st = encode_one(&e, batch, first, end, fixed, clean, goods[i / 64] >> i % 64 & 1, NULL, 0, memo, out);
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

mg_status MG_NAME(mg_encode_row_)(const mg_plan *plan, const mg_batch *batch, uint32_t row, const uint8_t *email,
                                  uint32_t email_len, mg_records *out) {
    encoder e;
    mg_status st = mg_encode_prepare(&e, plan, out);
    if (st != MG_OK) return st;
    return encode_one(&e, batch, row, batch_end(batch), mg_encode_fixed_cost(plan), 0, 0, email, email_len, NULL, out);
}
