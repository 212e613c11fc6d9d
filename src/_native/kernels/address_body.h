/* address_body.h: the entries for one instruction set, included once by each instruction-set file behind its header. */

mg_reason suffix(mg_address_check)(const uint8_t *p, size_t n, uint32_t options, uint8_t *norm, uint32_t *at) {
    if (ORDINARY(n)) {
        mg_address_marks m = marks_exact(p, n);
        if (doubts(m.at, m.dot, m.hyphen, m.alnum, m.atext, n, tail_of(p, n), options) == 0) {
            *at = 0;
            if (norm) lower_exact(norm, p, n);
            return MG_R_ok;
        }
    }
    return mg_address_judge(p, n, options, norm, at);
}

/* A block is marked and decided (address_good.h), then the judge is asked about those in doubt. */
#define AHEAD 1024 /* bytes: the text streams through once, and the processor's own prefetcher reacts too late */

#define MANY(name, offset)                                                                                             \
    void suffix(name)(const uint8_t *p, const offset *off, size_t n, uint32_t options, uint8_t *reasons,               \
                      uint8_t *norm) {                                                                                 \
        const uint8_t *end = p + off[n];                                                                               \
        sheet s;                                                                                                       \
        for (size_t from = 0; from < n; from += BLOCK) {                                                               \
            size_t count = n - from < BLOCK ? n - from : BLOCK;                                                        \
            for (size_t i = 0; i < count; i++) {                                                                       \
                const uint8_t *a = p + off[from + i];                                                                  \
                enter_swift(&s, i, a, (size_t)(off[from + i + 1] - off[from + i]), (size_t)(end - a),                  \
                            norm ? norm + off[from + i] : NULL);                                                       \
            }                                                                                                          \
            memset(reasons + from, MG_R_ok, count);                                                                    \
            for (uint64_t bits = in_doubt(&s, count, options); bits; bits &= bits - 1) {                               \
                size_t k = from + (size_t)__builtin_ctzll(bits);                                                       \
                uint32_t at;                                                                                           \
                reasons[k] = (uint8_t)mg_address_judge(p + off[k], (size_t)(off[k + 1] - off[k]), options,             \
                                                       norm ? norm + off[k] : NULL, &at);                              \
            }                                                                                                          \
        }                                                                                                              \
    }

/* All but the last few addresses of a buffer may be read, and written, beyond their end. */
ALWAYS void enter_swift(sheet *s, size_t i, const uint8_t *p, size_t n, size_t left, uint8_t *norm) {
    if (!ORDINARY(n)) {
        enter_nothing(s, i);
        return;
    }
    __builtin_prefetch(p + AHEAD);
    if (left >= 64) {
        enter(s, i, marks_slack(p, n), p, n);
        if (norm) lower_slack(norm, p, n);
    } else {
        enter(s, i, marks_exact(p, n), p, n);
        if (norm) lower_exact(norm, p, n);
    }
}

MANY(mg_address_many, int64_t)
MANY(mg_address_many32, int32_t)

void suffix(mg_address_gather)(const uint8_t *const *p, const uint32_t *len, size_t n, uint32_t options,
                               uint8_t *reasons) {
    sheet s;
    for (size_t from = 0; from < n; from += BLOCK) {
        size_t count = n - from < BLOCK ? n - from : BLOCK;
        for (size_t i = 0; i < count; i++) {
            if (ORDINARY((size_t)len[from + i]))
                enter(&s, i, marks_exact(p[from + i], len[from + i]), p[from + i], len[from + i]);
            else
                enter_nothing(&s, i);
        }
        memset(reasons + from, MG_R_ok, count);
        for (uint64_t bits = in_doubt(&s, count, options); bits; bits &= bits - 1) {
            size_t k = from + (size_t)__builtin_ctzll(bits);
            uint32_t at;
            reasons[k] = (uint8_t)mg_address_judge(p[k], len[k], options, NULL, &at);
        }
    }
}
