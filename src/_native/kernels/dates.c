/* Dates and times as they stand in lead files -> microseconds since 2000-01-01 00:00 UTC (PostgreSQL's timestamptz).
 *
 * Accepted, after RFC 3339 and ISO 8601 (calendar dates only):
 *   YYYY-MM-DD  YYYY/MM/DD  YYYYMMDD                    whatever `order` is
 *   d/m/yyyy with / . or - (the same one twice)         order DMY; m/d/yyyy: order MDY; one or two digits each
 * each alone or followed by T, t or spaces and
 *   HH:MM[:SS[.f…]] [Z | UTC | GMT | +HH | +HHMM | +HH:MM]
 * where order DMY or MDY also takes an hour of one digit, and AM or PM behind the time. Without a zone it is UTC. A comma may stand for the decimal point
 * (ISO 8601); digits past the microsecond are cut off. Second 60 is the leap second of RFC 3339: the next minute begins.
 *
 * Refused: years of two digits, 24:00, years outside 1..9999 (in UTC as well, since Python cannot hold them). */
#include "dates.h"

#define MICROS INT64_C(1000000)

typedef struct {
    const uint8_t *p, *end;
} cursor;

static int is_digit(uint8_t c) { return (uint8_t)(c - '0') < 10; }

/* Reads lo..hi digits; the number of them, 0 if there are too few. */
static int digits(cursor *c, int lo, int hi, uint32_t *v) {
    int n = 0;
    uint32_t x = 0;
    while (n < hi && c->p + n < c->end && is_digit(c->p[n])) x = x * 10 + (uint32_t)(c->p[n++] - '0');
    if (n < lo) return 0;
    c->p += n;
    *v = x;
    return n;
}

static uint8_t peek(const cursor *c) { return c->p < c->end ? *c->p : 0; }

static int take(cursor *c, uint8_t want) {
    if (c->p == c->end || *c->p != want) return 0;
    c->p++;
    return 1;
}

/* An ASCII word, any case; `word` is upper case. */
static int take_word(cursor *c, const char *word) {
    const uint8_t *p = c->p;
    for (; *word; word++, p++)
        if (p == c->end || (*p & 0xdf) != (uint8_t)*word) return 0;
    c->p = p;
    return 1;
}

static uint32_t days_in_month(uint32_t y, uint32_t m) {
    static const uint8_t days[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return m == 2 && y % 4 == 0 && (y % 100 != 0 || y % 400 == 0) ? 29 : days[m - 1];
}

static int read_date(cursor *c, uint8_t order, uint32_t *y, uint32_t *m, uint32_t *d) {
    uint32_t v;
#ifdef MG_DATE_WORDS
    if (c->end - c->p >= 10 && mg_common_date(c->p, order, y, m, d)) {
        c->p += 10;
        return 1;
    }
#endif
    int n = digits(c, 1, 8, &v);
    if (n == 8) {
        *y = v / 10000, *m = v / 100 % 100, *d = v % 100;
        return 1;
    }
    uint8_t sep = peek(c);
    if (n == 4 && (sep == '-' || sep == '/')) {
        *y = v;
        c->p++;
        return digits(c, 2, 2, m) && take(c, sep) && digits(c, 2, 2, d);
    }
    if (order != MG_DATES_ISO && (n == 1 || n == 2) && (sep == '/' || sep == '.' || sep == '-')) {
        *(order == MG_DATES_DMY ? d : m) = v;
        c->p++;
        return digits(c, 1, 2, order == MG_DATES_DMY ? m : d) && take(c, sep) && digits(c, 4, 4, y);
    }
    return 0;
}

/* HH:MM[:SS[.f…]], with an hour of one digit where `order` allows it. */
static int read_clock(cursor *c, uint8_t order, uint32_t *h, uint32_t *min, uint32_t *s, uint32_t *f) {
    *s = *f = 0;
#ifdef MG_DATE_WORDS
    uint64_t w;
    if (c->end - c->p >= 8 && mg_date_matches(c->p, UINT64_C(0x30303a30303a3030), UINT64_C(0x0000ff0000ff0000), &w)) {
        *h = mg_date_pair(w, 0), *min = mg_date_pair(w, 3), *s = mg_date_pair(w, 6); /* 00:00:00 */
        c->p += 8;
    } else
#endif
    {
        if (!digits(c, order == MG_DATES_ISO ? 2 : 1, 2, h) || !take(c, ':') || !digits(c, 2, 2, min)) return 0;
        if (!take(c, ':')) return 1;
        if (!digits(c, 2, 2, s)) return 0;
    }
    if (peek(c) == '.' || peek(c) == ',') {
        c->p++;
        int k = digits(c, 1, 6, f);
        if (!k) return 0;
        for (; k < 6; k++) *f *= 10;
        while (is_digit(peek(c))) c->p++;
    }
    return 1;
}

/* The time of day behind a date, as microseconds to add to its midnight: 1 = read, 0 = syntax, -1 = out of range. */
static int read_time(cursor *c, uint8_t order, int64_t *micros) {
    uint32_t h, min, s, f;
    if (!read_clock(c, order, &h, &min, &s, &f)) return 0;
    const uint8_t *word = c->p;
    while (peek(c) == ' ') c->p++;
    int pm = order != MG_DATES_ISO ? take_word(c, "PM") : 0;
    if (pm || (order != MG_DATES_ISO && take_word(c, "AM"))) {
        if (h < 1 || h > 12) return -1;
        h = h % 12 + (pm ? 12 : 0);
        word = c->p;
        while (peek(c) == ' ') c->p++;
    }
    if (h > 23 || min > 59 || s > 60) return -1;
    int64_t offset = 0;
    if (c->p == c->end) {
        if (c->p != word) return c->p = word, 0; /* blanks with nothing behind them */
    } else if (!take_word(c, "UTC") && !take_word(c, "GMT") && !take_word(c, "Z")) {
        uint8_t sign = peek(c);
        uint32_t oh, om = 0;
        if (sign != '+' && sign != '-') return 0;
        c->p++;
        if (!digits(c, 2, 2, &oh)) return 0;
        if ((take(c, ':') || c->p != c->end) && !digits(c, 2, 2, &om)) return 0;
        if (oh > 23 || om > 59) return -1;
        offset = (int64_t)(oh * 60 + om) * 60 * MICROS;
        if (sign == '-') offset = -offset;
    }
    *micros = (int64_t)((h * 60 + min) * 60 + s) * MICROS + f - offset;
    return 1;
}

static __attribute__((noinline)) mg_reason parse_any(const uint8_t *p, size_t n, uint8_t order, int64_t *micros,
                                                    uint32_t *at) {
    cursor c = {p, p + n};
    uint32_t y = 0, m = 0, d = 0;
    int64_t time = 0;
    if (!read_date(&c, order, &y, &m, &d)) {
        *at = (uint32_t)(c.p - p);
        return MG_R_date_syntax;
    }
    if (y < 1 || y > 9999 || m < 1 || m > 12 || d < 1 || (d > 28 && d > days_in_month(y, m))) {
        *at = 0;
        return MG_R_date_range;
    }
    if (c.p != c.end) {
        const uint8_t *start = c.p;
        int got = 0;
        if (take_word(&c, "T")) {
            got = read_time(&c, order, &time);
        } else if (take(&c, ' ')) {
            while (peek(&c) == ' ') c.p++;
            got = read_time(&c, order, &time);
        }
        if (got > 0 && c.p != c.end) got = 0;
        if (got <= 0) {
            *at = (uint32_t)((got < 0 ? start : c.p) - p);
            return got < 0 ? MG_R_date_range : MG_R_date_syntax;
        }
    }
    static const int64_t last = INT64_C(252455615999999999), first = INT64_C(-63082281600000000);
    int64_t t = (int64_t)mg_day_number(y, m, d) * 86400 * MICROS + time;
    if (t < first || t > last) {
        *at = 0;
        return MG_R_date_range;
    }
    *micros = t;
    return MG_R_ok;
}

mg_reason mg_timestamp_parse(const uint8_t *p, size_t n, uint8_t order, int64_t *micros, uint32_t *at) {
    return mg_usual_date(p, n, order, micros) ? MG_R_ok : parse_any(p, n, order, micros, at);
}
