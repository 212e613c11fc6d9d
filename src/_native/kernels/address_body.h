/* address_body.h: recognising an ordinary good address with 64-bit masks; included once by each instruction-set file.
 *
 * The including file defines
 *   suffix(name)                  the name with the instruction set behind it
 *   marks_exact(p, n)             marks of p[0..n), 8 <= n <= 64, reading nothing else
 *   marks_slack(p, n)             the same where p[0..64) may be read (the same function, where that costs nothing)
 *   lower_exact(norm, p, n)       norm[0..n) = p[0..n) in lower case
 *   lower_slack(norm, p, n)       the same where norm[0..64) may be written and p[0..64) read
 *   MG_CLEAN                      1 if marks have no bits behind n
 *
 * Everything is decided with a handful of shifts on "bit i is about byte i", without a branch but the last: mixed input
 * mispredicts nothing. What is said to be good is certainly good; the rest goes to the judge. Tried before: a table-driven
 * automaton (one dependent load a byte, 60 ns an address), and checking local part and domain in separate loops (two
 * mispredicted exits an address). */

#define ALWAYS static inline __attribute__((always_inline))

/* 1 if the top label, of length t, may be a special-use name. It is compared as one word of up to eight letters with the
 * only candidate that its hash leaves; a branch on the length (info, local, email …) would be mispredicted on mixed
 * lists. Longer labels wrap around in the shift and match by chance at worst: the judge knows better. */
ALWAYS uint64_t maybe_special(const uint8_t *p, size_t n, unsigned t) {
    static const char names[8][8] = {"", "invalid", "", "onion", "arpa", "", "local", "test"};
    uint64_t end, name;
    memcpy(&end, p + n - 8, 8);
    end |= 0x2020202020202020u; /* lower-cases letters; leaves digits, hyphens and dots alone */
    end >>= (64 - 8 * t) & 63;
    memcpy(&name, names[end * 0xe8a8529f035efa25u >> 61], 8);
    return (uint64_t)(end == name) | (uint64_t)(t == 9); /* localhost */
}

ALWAYS int good(mg_address_marks m, const uint8_t *p, size_t n, uint32_t options) {
    uint64_t top = (uint64_t)1 << (n - 1), valid = top | (top - 1);
    if (!MG_CLEAN) {
        m.at &= valid;
        m.dot &= valid;
    }
    uint64_t local = m.at - 1; /* the bits below the @ */
    uint64_t host = valid & ~(m.at | local);
    uint64_t sep = m.at | m.dot;
    uint64_t hyphen = m.hyphen & host;
    uint64_t dot = m.dot & host;
    uint64_t bad = m.wide | (m.at & (m.at - 1));         /* or a second @ */
    bad |= sep & ((sep << 1) | 1 | top);                 /* a dot or @ at the start, at the end, behind another */
    bad |= local & ~(m.atext | m.dot);
    bad |= host & ~(m.alnum | m.hyphen | m.dot);
    bad |= hyphen & ((sep << 1) | (sep >> 1) | top);     /* outer hyphens */
    bad |= hyphen & (hyphen >> 1);                       /* "--": an A-label, perhaps */
    bad |= (uint64_t)(m.at == 0) | (uint64_t)(dot == 0);
    bad |= (uint64_t)(p[n - 1] <= '9');                  /* a top label that ends in a digit: all digits, perhaps */
    unsigned t = (unsigned)__builtin_clzll(dot | 1) - (unsigned)(64 - n); /* length of the top label */
    if (!(options & MG_ADDR_ALLOW_SPECIAL_USE)) bad |= maybe_special(p, n, t);
    return bad == 0;
}

#define ORDINARY(n) ((n) - MG_ADDRESS_SWIFT_MIN <= MG_ADDRESS_SWIFT_MAX - MG_ADDRESS_SWIFT_MIN)

mg_reason suffix(mg_address_check)(const uint8_t *p, size_t n, uint32_t options, uint8_t *norm, uint32_t *at) {
    if (ORDINARY(n) && good(marks_exact(p, n), p, n, options)) {
        *at = 0;
        if (norm) lower_exact(norm, p, n);
        return MG_R_ok;
    }
    return mg_address_judge(p, n, options, norm, at);
}

/* The batches work in blocks: first what masks can decide, in a loop that calls nothing (a call would make the compiler
 * load every vector constant again for each address), then the judge for the rest of the block. */
#define BLOCK 512
#define UNDECIDED 255
_Static_assert(MG_REASON_COUNT < UNDECIDED, "a verdict is a byte");
#define AHEAD 1024 /* bytes: the text streams through once, and the processor's own prefetcher reacts too late */

#define MANY(name, offset)                                                                                             \
    void suffix(name)(const uint8_t *p, const offset *off, size_t n, uint32_t options, uint8_t *reasons,               \
                      uint8_t *norm) {                                                                                 \
        const uint8_t *end = p + off[n];                                                                               \
        for (size_t i = 0; i < n;) {                                                                                   \
            size_t from = i, stop = n - i < BLOCK ? n : i + BLOCK, undecided = 0;                                      \
            for (; i < stop; i++) {                                                                                    \
                const uint8_t *a = p + off[i];                                                                         \
                uint8_t verdict = swift(a, (size_t)(off[i + 1] - off[i]), (size_t)(end - a), options,                  \
                                        norm ? norm + off[i] : NULL);                                                  \
                reasons[i] = verdict;                                                                                  \
                undecided += verdict;                                                                                  \
            }                                                                                                          \
            for (size_t k = from; undecided && k < stop; k++) {                                                        \
                uint32_t at;                                                                                           \
                if (reasons[k] != UNDECIDED) continue;                                                                 \
                undecided -= UNDECIDED;                                                                                \
                reasons[k] = (uint8_t)mg_address_judge(p + off[k], (size_t)(off[k + 1] - off[k]), options,             \
                                                       norm ? norm + off[k] : NULL, &at);                              \
            }                                                                                                          \
        }                                                                                                              \
    }

/* All but the last few addresses of a buffer may be read, and written, beyond their end. */
ALWAYS uint8_t swift(const uint8_t *p, size_t n, size_t left, uint32_t options, uint8_t *norm) {
    mg_address_marks m;
    if (!ORDINARY(n)) return UNDECIDED;
    __builtin_prefetch(p + AHEAD);
    if (left >= 64) {
        m = marks_slack(p, n);
        if (norm) lower_slack(norm, p, n);
    } else {
        m = marks_exact(p, n);
        if (norm) lower_exact(norm, p, n);
    }
    return good(m, p, n, options) ? MG_R_ok : UNDECIDED;
}

MANY(mg_address_many, int64_t)
MANY(mg_address_many32, int32_t)

void suffix(mg_address_gather)(const uint8_t *const *p, const uint32_t *len, size_t n, uint32_t options,
                               uint8_t *reasons) {
    for (size_t i = 0; i < n;) {
        size_t from = i, stop = n - i < BLOCK ? n : i + BLOCK, undecided = 0;
        for (; i < stop; i++) {
            uint8_t verdict = ORDINARY((size_t)len[i]) && good(marks_exact(p[i], len[i]), p[i], len[i], options)
                                  ? MG_R_ok
                                  : UNDECIDED;
            reasons[i] = verdict;
            undecided += verdict;
        }
        for (size_t k = from; undecided && k < stop; k++) {
            uint32_t at;
            if (reasons[k] != UNDECIDED) continue;
            undecided -= UNDECIDED;
            reasons[k] = (uint8_t)mg_address_judge(p[k], len[k], options, NULL, &at);
        }
    }
}
