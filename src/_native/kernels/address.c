/* address.c: is this an address one can send to?
 *
 * Purpose: the rules of RFC 5321 section 4.1.2 (Mailbox) for ASCII, narrowed to dotted host names, each refusal with the
 * reason a person can act on and the byte it is about. Addresses with non-ASCII bytes or A-labels are left to the
 * internationalised rules in Python (MG_R_email_idn), unless their length alone decides.
 * Invariants: norm is written only for MG_R_ok, and then holds n bytes. Nothing outside p[0..n) is read.
 * Limits: RFC 5321 section 4.5.3.1 (local part 64, domain 255), RFC 3696 erratum 1690 (254 in all), RFC 1035 section
 * 2.3.4 (label 63; 253 for a domain written with dots).
 *
 * Where several things are wrong, the order below decides: what says most about how to mend the row comes first, so
 * "Ann <ann@example.com>" is a display name and not an address with a space in it. */
#include "address.h"

#include <string.h>

enum {
    ATEXT = 1,   /* RFC 5322 section 3.2.3: may stand in an unquoted local part */
    LETDIG = 2,  /* RFC 5321: Let-dig */
    HYPHEN = 4,
    DOT = 8,
    BLANK = 16,  /* space, tab */
    CONTROL = 32, /* other C0 controls, DEL */
    WIDE = 64,   /* not ASCII */
    DIGIT = 128
};

#define A ATEXT
#define L (ATEXT | LETDIG)
#define D (ATEXT | LETDIG | DIGIT)
#define H (ATEXT | HYPHEN)
#define C CONTROL
#define W8 WIDE, WIDE, WIDE, WIDE, WIDE, WIDE, WIDE, WIDE
static const uint8_t kind[256] = {
    C, C, C, C, C, C, C, C, C, BLANK, C, C, C, C, C, C, C, C, C, C, C, C, C, C, C, C, C, C, C, C, C, C,
    /*  ! " # $ % & '  ( ) * + , - . / */
    BLANK, A, 0, A, A, A, A, A, 0, 0, A, A, 0, H, DOT, A,
    /* 0-9 : ; < = > ? */
    D, D, D, D, D, D, D, D, D, D, 0, 0, 0, A, 0, A,
    /* @ A-Z [ \ ] ^ _ */
    0, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, 0, 0, 0, A, A,
    /* ` a-z { | } ~ DEL */
    A, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, A, A, A, A, C,
    W8, W8, W8, W8, W8, W8, W8, W8, W8, W8, W8, W8, W8, W8, W8, W8};
#undef A
#undef L
#undef D
#undef H
#undef C
#undef W8

static inline uint8_t lower(uint8_t c) { return (uint8_t)(c - 'A') < 26 ? c | 0x20 : c; }

static int same_letters(const uint8_t *p, const char *lowercase, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (lower(p[i]) != (uint8_t)lowercase[i]) return 0;
    return 1;
}

static size_t find(const uint8_t *p, size_t n, uint8_t c) {
    const uint8_t *q = n ? memchr(p, c, n) : NULL;
    return q ? (size_t)(q - p) : n;
}

static size_t find_kind(const uint8_t *p, size_t n, uint8_t which) {
    size_t i = 0;
    while (i < n && !(kind[p[i]] & which)) i++;
    return i;
}

/* RFC 6761 and the registry it opened: names that no mail on the Internet reaches. */
static int special_use(const uint8_t *p, size_t n) {
    switch (n) {
    case 4: return same_letters(p, "arpa", 4) || same_letters(p, "test", 4);
    case 5: return same_letters(p, "local", 5) || same_letters(p, "onion", 5);
    case 7: return same_letters(p, "invalid", 7);
    case 9: return same_letters(p, "localhost", 9);
    default: return 0;
    }
}

#define REFUSE(reason, where) return (*at = (uint32_t)(where), MG_R_email_##reason)

/* More than 254 octets: say which part is to blame, where that is certain. */
static mg_reason too_long(const uint8_t *p, size_t n, uint32_t *at) {
    size_t i = find(p, n, '@');
    if (i < n && find(p + i + 1, n - i - 1, '@') == n - i - 1) {
        if (i > 64) REFUSE(local_too_long, 64);
        if (n - i - 1 > 253) REFUSE(domain_too_long, i + 1 + 253);
    }
    REFUSE(too_long, MG_ADDR_MAX);
}

/* RFC 5321 Dot-string: p[0..n) is what stands before the @. */
static mg_reason dot_string(const uint8_t *p, size_t n, uint32_t *at) {
    int atom = 0; /* the previous byte belongs to an atom */
    for (size_t i = 0; i < n; i++) {
        uint8_t k = kind[p[i]];
        if (k & ATEXT) {
            atom = 1;
        } else if (k & DOT) {
            if (!atom) REFUSE(local_dot, i);
            atom = 0;
        } else {
            REFUSE(local_char, i);
        }
    }
    if (!atom) REFUSE(local_dot, n - 1);
    return MG_R_ok;
}

/* RFC 5321 Quoted-string from p[0] == '"' on. *end = offset behind its closing quote. */
static mg_reason quoted_string(const uint8_t *p, size_t n, size_t *end, uint32_t *at) {
    for (size_t i = 1; i < n; i++) {
        uint8_t c = p[i];
        if (c == '"') {
            *end = i + 1;
            return MG_R_ok;
        }
        if (c == '\\') i++; /* any printable ASCII may follow; controls were refused before */
        if (i >= n || p[i] == '\t') REFUSE(local_quote_syntax, i < n ? i : n - 1);
    }
    REFUSE(local_quote_syntax, 0);
}

/* RFC 5321 Domain with at least one dot; p[from..n). *a_label = it has a label that starts with xn--. */
static mg_reason domain(const uint8_t *p, size_t from, size_t n, uint32_t options, int *a_label, uint32_t *at) {
    size_t label = from;
    uint8_t all = DIGIT; /* what all bytes of the label have in common */
    *a_label = 0;
    for (size_t i = from;; i++) {
        uint8_t k = i < n ? kind[p[i]] : DOT;
        if (k & (LETDIG | HYPHEN)) {
            all &= k;
            continue;
        }
        if (!(k & DOT)) REFUSE(domain_char, i);
        if (i == label) REFUSE(domain_dot, i < n ? i : n - 1);
        if (p[label] == '-') REFUSE(domain_hyphen, label);
        if (p[i - 1] == '-') REFUSE(domain_hyphen, i - 1);
        if (i - label > 63) REFUSE(domain_label_too_long, label + 63);
        if (i - label >= 4 && same_letters(p + label, "xn--", 4)) *a_label = 1;
        if (i == n) break;
        label = i + 1;
        all = DIGIT;
    }
    if (label == from) REFUSE(domain_no_dot, from);
    if (all) REFUSE(domain_tld_numeric, label);
    if (!(options & MG_ADDR_ALLOW_SPECIAL_USE) && special_use(p + label, n - label))
        REFUSE(domain_special_use, label);
    return MG_R_ok;
}

mg_reason mg_address_judge(const uint8_t *p, size_t n, uint32_t options, uint8_t *norm, uint32_t *at) {
    *at = 0;
    if (n == 0) return MG_R_email_empty;
    if (n > MG_ADDR_MAX) return too_long(p, n, at);
    uint8_t any = 0;
    for (size_t i = 0; i < n; i++) any |= kind[p[i]];
    if (any & WIDE) REFUSE(idn, find_kind(p, n, WIDE));
    if (any & CONTROL) REFUSE(control, find_kind(p, n, CONTROL));
    if (n >= 7 && same_letters(p, "mailto:", 7)) return MG_R_email_mailto;

    size_t last = n - 1;
    while (last > 0 && kind[p[last]] & BLANK) last--;
    if (p[last] == '>' && find(p, last, '<') < last) REFUSE(display_name, find(p, last, '<'));

    size_t at_sign;
    if (p[0] == '"') {
        mg_reason r = quoted_string(p, n, &at_sign, at);
        if (r != MG_R_ok) return r;
        if (at_sign == n || p[at_sign] != '@') REFUSE(local_quote_syntax, at_sign - 1);
        if (!(options & MG_ADDR_ALLOW_QUOTED)) REFUSE(local_quoted, 0);
        if (find(p + at_sign + 1, n - at_sign - 1, '@') < n - at_sign - 1)
            REFUSE(two_ats, at_sign + 1 + find(p + at_sign + 1, n - at_sign - 1, '@'));
        if (at_sign > 64) REFUSE(local_too_long, 64);
        if (any & BLANK) {
            size_t blank = at_sign + find_kind(p + at_sign, n - at_sign, BLANK);
            if (blank < n) REFUSE(space, blank);
        }
    } else {
        at_sign = find(p, n, '@');
        if (at_sign == n) REFUSE(no_at, n - 1);
        size_t paren = find(p, n, '(');
        if (paren < n && find(p + paren, n - paren, ')') < n - paren) REFUSE(comment, paren);
        size_t second = at_sign + 1 + find(p + at_sign + 1, n - at_sign - 1, '@');
        if (second < n) REFUSE(two_ats, second);
        if (any & BLANK) REFUSE(space, find_kind(p, n, BLANK));
        if (at_sign == 0) REFUSE(local_empty, 0);
        if (at_sign > 64) REFUSE(local_too_long, 64);
        mg_reason r = dot_string(p, at_sign, at);
        if (r != MG_R_ok) return r;
    }
    if (at_sign == n - 1) REFUSE(domain_empty, at_sign);
    if (p[at_sign + 1] == '[') REFUSE(domain_literal, at_sign + 1);
    int a_label;
    mg_reason r = domain(p, at_sign + 1, n, options, &a_label, at);
    if (r != MG_R_ok) return r;
    if (a_label) REFUSE(idn, at_sign + 1);
    if (norm)
        for (size_t i = 0; i < n; i++) norm[i] = lower(p[i]);
    return MG_R_ok;
}

static void many_scalar(const uint8_t *p, const int64_t *off, size_t n, uint32_t options, uint8_t *reasons,
                        uint8_t *norm) {
    uint32_t at;
    for (size_t i = 0; i < n; i++)
        reasons[i] = (uint8_t)mg_address_judge(p + off[i], (size_t)(off[i + 1] - off[i]), options,
                                               norm ? norm + off[i] : NULL, &at);
}

static void many32_scalar(const uint8_t *p, const int32_t *off, size_t n, uint32_t options, uint8_t *reasons,
                          uint8_t *norm) {
    uint32_t at;
    for (size_t i = 0; i < n; i++)
        reasons[i] = (uint8_t)mg_address_judge(p + off[i], (size_t)(off[i + 1] - off[i]), options,
                                               norm ? norm + off[i] : NULL, &at);
}

static void gather_scalar(const uint8_t *const *p, const uint32_t *len, size_t n, uint32_t options, uint8_t *reasons) {
    uint32_t at;
    for (size_t i = 0; i < n; i++) reasons[i] = (uint8_t)mg_address_judge(p[i], len[i], options, NULL, &at);
}

#if defined(__x86_64__)
#define DISPATCH(name, scalar, ...)                                                                                    \
    switch (mg_isa_current()) {                                                                                        \
    case MG_ISA_AVX512: return mg_address_##name##_avx512(__VA_ARGS__);                                                \
    case MG_ISA_AVX2: return mg_address_##name##_avx2(__VA_ARGS__);                                                    \
    case MG_ISA_SSE42: return mg_address_##name##_sse42(__VA_ARGS__);                                                  \
    default: return scalar(__VA_ARGS__);                                                                               \
    }
#elif defined(__aarch64__)
#define DISPATCH(name, scalar, ...)                                                                                    \
    if (mg_isa_current() == MG_ISA_NEON) return mg_address_##name##_neon(__VA_ARGS__);                                 \
    return scalar(__VA_ARGS__);
#else
#define DISPATCH(name, scalar, ...) return scalar(__VA_ARGS__);
#endif

mg_reason mg_address_check(const uint8_t *p, size_t n, uint32_t options, uint8_t *norm, uint32_t *at) {
    DISPATCH(check, mg_address_judge, p, n, options, norm, at)
}

void mg_address_many(const uint8_t *p, const int64_t *off, size_t n, uint32_t options, uint8_t *reasons,
                     uint8_t *norm) {
    DISPATCH(many, many_scalar, p, off, n, options, reasons, norm)
}

void mg_address_many32(const uint8_t *p, const int32_t *off, size_t n, uint32_t options, uint8_t *reasons,
                       uint8_t *norm) {
    DISPATCH(many32, many32_scalar, p, off, n, options, reasons, norm)
}

void mg_address_gather(const uint8_t *const *p, const uint32_t *len, size_t n, uint32_t options, uint8_t *reasons) {
    DISPATCH(gather, gather_scalar, p, len, n, options, reasons)
}

/* All texts of a block are asked for before the first is read, wherever they lie. Longer blocks cost: the places of texts
 * then lie 4 KiB from the marks, and the processor takes the one for the other. */
#define VIEWS 64
#define LENGTH_MAX (1u << 20) /* far over any limit already, and soon searched */

mg_status mg_address_string_views(const uint8_t *views, const uint8_t *const *buffers, const int64_t *sizes,
                                  size_t n_buffers, const uint8_t *bits, size_t bit, size_t n, uint32_t options,
                                  uint8_t *reasons) {
    const uint8_t *p[VIEWS];
    uint32_t length[VIEWS];
    for (size_t from = 0; from < n; from += VIEWS) {
        size_t count = n - from < VIEWS ? n - from : VIEWS;
        for (size_t i = 0; i < count; i++) {
            p[i] = mg_string_view_text(views + 16 * (from + i), buffers, sizes, n_buffers, &length[i]);
            if (p[i] == NULL) return MG_CORRUPT;
            if (length[i] > LENGTH_MAX) length[i] = LENGTH_MAX;
            __builtin_prefetch(p[i]);
        }
        for (size_t i = 0; bits && i < count; i++)
            if (!(bits[(bit + from + i) >> 3] >> ((bit + from + i) & 7) & 1)) length[i] = 0;
        mg_address_gather(p, length, count, options, reasons + from);
    }
    return MG_OK;
}
