/* address_good.h: is this address certainly good? Included once by each instruction set's header (address_avx2.h and its
 * like), behind what it says about itself:
 *   suffix(name)                  the name with the instruction set behind it
 *   marks_exact(p, n)             marks of p[0..n), 8 <= n <= 64, reading nothing else
 *   marks_slack(p, n)             the same where p[0..64) may be read (the same function, where that costs nothing)
 *   lower_exact(norm, p, n)       norm[0..n) = p[0..n) in lower case
 *   lower_slack(norm, p, n)       the same where norm[0..64) may be written and p[0..64) read
 *   MG_CLEAN                      1 if marks have no bits behind n
 *   ABREAST, lanes, nonzero(v)    how many 64-bit words are worked on at once, the type that holds them (uint64_t, or a
 *                                 vector of them), and one bit for each of them that is not 0
 *
 * Everything is decided with a handful of shifts on "bit i is about byte i", without a branch: mixed input mispredicts
 * nothing. What is said to be good is certainly good; the rest goes to the judge. Tried before: a table-driven automaton
 * (one dependent load a byte, 60 ns an address), checking local part and domain in separate loops (two mispredicted exits
 * an address), and deciding one address at a time where there are vectors (twice as long). */
#ifndef MG_ADDRESS_GOOD_H
#define MG_ADDRESS_GOOD_H

#include "address.h"

#include <string.h>

#define ALWAYS static inline __attribute__((always_inline))

/* Not 0 if the top label may be a special-use name, told by the last five bytes of the address in lower case; the
 * judge knows better. Six comparisons, or for one address a single one, with the only candidate that its hash leaves. */
#define FIVE(a, b, c, d, e)                                                                                            \
    ((uint64_t)(a) | (uint64_t)(b) << 8 | (uint64_t)(c) << 16 | (uint64_t)(d) << 24 | (uint64_t)(e) << 32)
#define ARPA FIVE('.', 'a', 'r', 'p', 'a')
#define TEST FIVE('.', 't', 'e', 's', 't')
#define LOCAL FIVE('l', 'o', 'c', 'a', 'l')
#define ONION FIVE('o', 'n', 'i', 'o', 'n')
#define INVALID FIVE('v', 'a', 'l', 'i', 'd')
#define LOCALHOST FIVE('l', 'h', 'o', 's', 't')
ALWAYS uint64_t maybe_special(uint64_t five) {
    static const uint64_t names[8] = {0, 0, ONION, LOCAL, INVALID, LOCALHOST, TEST, ARPA};
    return five == names[five * 0x63ca828dd5f4b3b3u >> 61];
}
#if ABREAST > 1
ALWAYS lanes maybe_special_abreast(lanes five) {
    return (lanes)(five == ARPA) | (lanes)(five == TEST) | (lanes)(five == LOCAL) | (lanes)(five == ONION) |
           (lanes)(five == INVALID) | (lanes)(five == LOCALHOST);
}
#endif

/* 0, or not 0 where an address is not certainly good; for one address (word: uint64_t) or several side by side. tail:
 * its last eight bytes as one number, the last byte uppermost. */
#define DOUBTS(name, word, special)                                                                                    \
    ALWAYS word name(word at, word dot, word hyphen, word alnum, word atext, word n, word tail, uint32_t options) {    \
        word one = (n & 0) | 1, top = one << (n - 1), valid = top | (top - 1);                                         \
        if (!MG_CLEAN) {                                                                                               \
            at &= valid;                                                                                               \
            dot &= valid;                                                                                              \
        }                                                                                                              \
        word local = at - 1; /* the bits below the @ */                                                                \
        word host = valid & ~(at | local);                                                                             \
        word sep = at | dot;                                                                                           \
        word inner = hyphen & host;                                                                                    \
        word bad = at & local;                               /* a second @ */                                          \
        bad |= sep & ((sep << 1) | 1 | top);                 /* a dot or @ at the start, at the end, behind another */ \
        bad |= local & ~(atext | dot);                                                                                 \
        bad |= host & ~(alnum | hyphen | dot);                                                                         \
        bad |= inner & ((sep << 1) | (sep >> 1) | top);      /* outer hyphens */                                       \
        bad |= inner & (inner >> 1);                         /* "--": an A-label, perhaps */                           \
        bad |= (word)(at == 0) | (word)((dot & host) == 0);                                                            \
        bad |= (word)(tail < (uint64_t)('9' + 1) << 56); /* a last digit: the top label is a number, perhaps */        \
        if (!(options & MG_ADDR_ALLOW_SPECIAL_USE)) /* lower-cases letters; leaves dots alone */                       \
            bad |= special((tail | 0x2020202020202020u) >> 24);                                                        \
        return bad;                                                                                                    \
    }

DOUBTS(doubts, uint64_t, maybe_special)
#if ABREAST == 1
#define doubts_abreast doubts
#else
DOUBTS(doubts_abreast, lanes, maybe_special_abreast)
#endif

#define ORDINARY(n) ((n) - MG_ADDRESS_SWIFT_MIN <= MG_ADDRESS_SWIFT_MAX - MG_ADDRESS_SWIFT_MIN)

ALWAYS uint64_t tail_of(const uint8_t *p, size_t n) {
    uint64_t tail;
    memcpy(&tail, p + n - 8, 8);
    return tail;
}

/* Many addresses are decided in blocks: first the marks of all, in a loop that calls nothing (a call would make the compiler
 * load every vector constant again for each address), then what the marks say, ABREAST addresses at a time. A whole block
 * lies between writing marks and reading them: vectors cannot be loaded from words that are still on their way to
 * memory. */
#define BLOCK 64

typedef struct {
    _Alignas(64) uint64_t at[BLOCK];
    uint64_t dot[BLOCK], hyphen[BLOCK], alnum[BLOCK], atext[BLOCK], n[BLOCK], tail[BLOCK];
} sheet;

ALWAYS void enter(sheet *s, size_t i, mg_address_marks m, const uint8_t *p, size_t n) {
    s->at[i] = m.at;
    s->dot[i] = m.dot;
    s->hyphen[i] = m.hyphen;
    s->alnum[i] = m.alnum;
    s->atext[i] = m.atext;
    s->n[i] = n;
    s->tail[i] = tail_of(p, n);
}

/* No @: in doubt. */
ALWAYS void enter_nothing(sheet *s, size_t i) {
    s->at[i] = s->dot[i] = s->hyphen[i] = s->alnum[i] = s->atext[i] = s->tail[i] = 0;
    s->n[i] = 1;
}

ALWAYS lanes lanes_of(const uint64_t *words) {
    lanes v;
    memcpy(&v, words, sizeof v);
    return v;
}

/* One bit for each of the first n addresses of the sheet that is in doubt. */
ALWAYS uint64_t in_doubt(sheet *s, size_t n, uint32_t options) {
    uint64_t bits = 0;
    for (size_t i = n; i % ABREAST; i++) enter_nothing(s, i);
    for (size_t i = 0; i < n; i += ABREAST)
        bits |= (uint64_t)nonzero(doubts_abreast(lanes_of(s->at + i), lanes_of(s->dot + i), lanes_of(s->hyphen + i),
                                                 lanes_of(s->alnum + i), lanes_of(s->atext + i), lanes_of(s->n + i),
                                                 lanes_of(s->tail + i), options))
                << i;
    return bits & ~(uint64_t)0 >> (BLOCK - n);
}

#endif
