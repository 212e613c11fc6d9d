/* dates.h: the dates that most files hold, recognised without a call: ten bytes, and a day that every month has. Shared by
 * dates.c, which knows all the others, and the encoder. */
#ifndef MG_DATES_H
#define MG_DATES_H

#include "mg.h"

#include <string.h>

/* Days since 2000-01-01 in the proleptic Gregorian calendar. The year is taken to begin in March, so that the leap day
 * is its last and the days before a month follow (153m + 2) / 5. */
static inline int32_t mg_day_number(uint32_t y, uint32_t m, uint32_t d) {
    y -= m <= 2;
    m = m > 2 ? m - 3 : m + 9;
    return (int32_t)(365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + d) - 730426;
}

/* ---- the common shapes, eight bytes at once ---- */

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define MG_DATE_WORDS 1
/* Do the eight bytes match `shape`, in which '0' stands for any digit and the bytes of `marks` (0xff each) for themselves?
 * Then *digits has the values of the digits in their places. */
static inline int mg_date_matches(const uint8_t *p, uint64_t shape, uint64_t marks, uint64_t *digits) {
    uint64_t w;
    memcpy(&w, p, 8);
    w ^= shape;
    *digits = w;
    /* a digit's byte is 0..9, and 0x76 more is below 0x80; a mark's is 0, and 0x7f more is */
    uint64_t add = UINT64_C(0x7676767676767676) | (marks & UINT64_C(0x0909090909090909));
    return (((w + add) | w) & UINT64_C(0x8080808080808080)) == 0;
}

static inline uint32_t mg_date_pair(uint64_t w, int i) {
    return (uint32_t)(w >> 8 * i & 0xff) * 10 + (uint32_t)(w >> 8 * (i + 1) & 0xff);
}

/* 0000-00-00, or 00/00/0000 and its like where `order` takes it, in p[0..10). */
static inline int mg_common_date(const uint8_t *p, uint8_t order, uint32_t *y, uint32_t *m, uint32_t *d) {
    uint64_t w;
    uint32_t tens = (uint32_t)p[8] - '0', ones = (uint32_t)p[9] - '0';
    if (tens > 9 || ones > 9) return 0;
    if (mg_date_matches(p, UINT64_C(0x2d30302d30303030), UINT64_C(0xff0000ff00000000), &w)) { /* 0000-00- */
        *y = mg_date_pair(w, 0) * 100 + mg_date_pair(w, 2);
        *m = mg_date_pair(w, 5);
        *d = tens * 10 + ones;
    } else if (order != MG_DATES_ISO && (p[2] == '/' || p[2] == '.' || p[2] == '-') &&
               mg_date_matches(p, UINT64_C(0x3030003030003030) | (uint64_t)p[2] << 16 | (uint64_t)p[2] << 40,
                       UINT64_C(0x0000ff0000ff0000), &w)) { /* 00/00/00 */
        *(order == MG_DATES_DMY ? d : m) = mg_date_pair(w, 0);
        *(order == MG_DATES_DMY ? m : d) = mg_date_pair(w, 3);
        *y = mg_date_pair(w, 6) * 100 + tens * 10 + ones;
    } else {
        return 0;
    }
    return 1;
}
#endif

/* *micros of the date in p[0..n), if it is one of the usual ones. */
static inline int mg_usual_date(const uint8_t *p, size_t n, uint8_t order, int64_t *micros) {
#ifdef MG_DATE_WORDS
    uint32_t y, m, d;
    if (n == 10 && mg_common_date(p, order, &y, &m, &d) && y >= 1 && m - 1 < 12 && d - 1 < 28) {
        *micros = (int64_t)mg_day_number(y, m, d) * 86400 * INT64_C(1000000);
        return 1;
    }
#endif
    return 0;
}

#endif
