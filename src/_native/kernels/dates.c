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
#include "mg.h"

#include <string.h>

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

/* Days since 2000-01-01 in the proleptic Gregorian calendar. The year is taken to begin in March, so that the leap day
 * is its last and the days before a month follow (153m + 2) / 5. */
static int32_t day_number(uint32_t y, uint32_t m, uint32_t d) {
    y -= m <= 2;
    m = m > 2 ? m - 3 : m + 9;
    return (int32_t)(365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + d) - 730426;
}

/* ---- the common shapes, eight bytes at once ---- */

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define WORDS 1
/* Do the eight bytes match `shape`, in which '0' stands for any digit and the bytes of `marks` (0xff each) for themselves?
 * Then *digits has the values of the digits in their places. */
static int matches(const uint8_t *p, uint64_t shape, uint64_t marks, uint64_t *digits) {
    uint64_t w;
    memcpy(&w, p, 8);
    w ^= shape;
    *digits = w;
    /* a digit's byte is 0..9, and 0x76 more is below 0x80; a mark's is 0, and 0x7f more is */
    uint64_t add = UINT64_C(0x7676767676767676) | (marks & UINT64_C(0x0909090909090909));
    return (((w + add) | w) & UINT64_C(0x8080808080808080)) == 0;
}

static uint32_t pair(uint64_t w, int i) { return (uint32_t)(w >> 8 * i & 0xff) * 10 + (uint32_t)(w >> 8 * (i + 1) & 0xff); }

/* 0000-00-00, or 00/00/0000 and its like where `order` takes it, in p[0..10). */
static inline int common_date(const uint8_t *p, uint8_t order, uint32_t *y, uint32_t *m, uint32_t *d) {
    uint64_t w;
    uint32_t tens = (uint32_t)p[8] - '0', ones = (uint32_t)p[9] - '0';
    if (tens > 9 || ones > 9) return 0;
    if (matches(p, UINT64_C(0x2d30302d30303030), UINT64_C(0xff0000ff00000000), &w)) { /* 0000-00- */
        *y = pair(w, 0) * 100 + pair(w, 2);
        *m = pair(w, 5);
        *d = tens * 10 + ones;
    } else if (order != MG_DATES_ISO && (p[2] == '/' || p[2] == '.' || p[2] == '-') &&
               matches(p, UINT64_C(0x3030003030003030) | (uint64_t)p[2] << 16 | (uint64_t)p[2] << 40,
                       UINT64_C(0x0000ff0000ff0000), &w)) { /* 00/00/00 */
        *(order == MG_DATES_DMY ? d : m) = pair(w, 0);
        *(order == MG_DATES_DMY ? m : d) = pair(w, 3);
        *y = pair(w, 6) * 100 + tens * 10 + ones;
    } else {
        return 0;
    }
    return 1;
}
#endif

static int read_date(cursor *c, uint8_t order, uint32_t *y, uint32_t *m, uint32_t *d) {
    uint32_t v;
#ifdef WORDS
    if (c->end - c->p >= 10 && common_date(c->p, order, y, m, d)) {
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
#ifdef WORDS
    uint64_t w;
    if (c->end - c->p >= 8 && matches(c->p, UINT64_C(0x30303a30303a3030), UINT64_C(0x0000ff0000ff0000), &w)) {
        *h = pair(w, 0), *min = pair(w, 3), *s = pair(w, 6); /* 00:00:00 */
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
    int64_t t = (int64_t)day_number(y, m, d) * 86400 * MICROS + time;
    if (t < first || t > last) {
        *at = 0;
        return MG_R_date_range;
    }
    *micros = t;
    return MG_R_ok;
}

mg_reason mg_timestamp_parse(const uint8_t *p, size_t n, uint8_t order, int64_t *micros, uint32_t *at) {
#ifdef WORDS
    uint32_t y, m, d; /* most dates are of this kind: ten bytes, and a day that every month has */
    if (n == 10 && common_date(p, order, &y, &m, &d) && y >= 1 && m - 1 < 12 && d - 1 < 28) {
        *micros = (int64_t)day_number(y, m, d) * 86400 * MICROS;
        return MG_R_ok;
    }
#endif
    return parse_any(p, n, order, micros, at);
}
