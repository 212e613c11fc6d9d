/* Fuzzes kernels/address.c: every instruction set must say exactly what the scalar judge says, through every entry; what
 * is accepted must have the properties that the rules promise; nothing outside the input may be touched.
 *
 * The input's first byte gives the options, the rest is a batch of addresses, one behind each 0x0a. */
#include "mg.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MAX 512

static void ensure(int truth) {
    if (!truth) __builtin_trap();
}

/* What every accepted address has, written down anew rather than by calling the kernel's own helpers. */
static void promises(const uint8_t *p, size_t n, const uint8_t *norm, uint32_t options) {
    size_t at = n, label = 0, dots = 0;
    ensure(n >= 5 - 2 * ((options & MG_ADDR_ALLOW_QUOTED) != 0) && n <= MG_ADDR_MAX);
    for (size_t i = 0; i < n; i++) {
        ensure(p[i] >= 0x20 && p[i] < 0x7f);
        ensure(norm[i] == (p[i] >= 'A' && p[i] <= 'Z' ? p[i] + 32 : p[i]));
        if (p[i] == '@') at = i;
    }
    ensure(at >= 1 && at <= 64 && at < n - 3);
    if (p[0] == '"') {
        ensure((options & MG_ADDR_ALLOW_QUOTED) && p[at - 1] == '"' && at >= 2);
    } else {
        for (size_t i = 0; i < at; i++) ensure(p[i] && !strchr("@()<>[]\\,;: \"", p[i]));
        ensure(p[0] != '.' && p[at - 1] != '.');
    }
    for (size_t i = at + 1; i <= n; i++) {
        if (i < n && p[i] != '.') {
            ensure((p[i] >= '0' && p[i] <= '9') || (norm[i] >= 'a' && norm[i] <= 'z') || p[i] == '-');
            label++;
            continue;
        }
        ensure(label >= 1 && label <= 63 && p[i - 1] != '-' && p[i - label] != '-');
        ensure(label < 4 || memcmp(norm + i - label, "xn--", 4) != 0);
        if (i == n) { /* the top label */
            size_t digits = 0;
            for (size_t k = i - label; k < i; k++) digits += p[k] >= '0' && p[k] <= '9';
            ensure(digits < label);
            if (!(options & MG_ADDR_ALLOW_SPECIAL_USE)) {
                static const char *const names[] = {"arpa", "invalid", "local", "localhost", "onion", "test"};
                for (size_t k = 0; k < 6; k++)
                    ensure(strlen(names[k]) != label || memcmp(norm + i - label, names[k], label) != 0);
            }
        }
        dots += i < n;
        label = 0;
    }
    ensure(dots >= 1);
}

/* Its own exact allocation, so that a sanitizer sees one byte too far. */
static uint8_t *copy_of(const uint8_t *p, size_t n) {
    uint8_t *q = malloc(n ? n : 1);
    ensure(q != NULL);
    memcpy(q, p, n);
    return q;
}

static void put32(uint8_t *p, uint32_t value) { memcpy(p, &value, 4); }

/* The same addresses behind Arrow's string views, in two buffers of exact size; every fifth is null. Then one view is
 * damaged in each way there is. */
static void as_views(const uint8_t *const *where, const uint32_t *length, size_t count, uint32_t options,
                     const uint8_t *verdicts) {
    uint8_t *views = calloc(count ? count : 1, 16), *text[2], bits[MAX / 8 + 1], reasons[MAX], wanted[MAX];
    int64_t sizes[2] = {0, 0};
    size_t outside = count; /* a view whose text is not in it */
    ensure(views != NULL);
    memset(bits, 0, sizeof bits);
    for (size_t i = 0; i < count; i++)
        if (length[i] > 12) sizes[i & 1] += length[i];
    for (int b = 0; b < 2; b++) ensure((text[b] = malloc(sizes[b] ? (size_t)sizes[b] : 1)) != NULL);
    sizes[0] = sizes[1] = 0;
    for (size_t i = 0; i < count; i++) {
        uint8_t *view = views + 16 * i;
        put32(view, length[i]);
        memcpy(view + 4, where[i], length[i] < 12 ? length[i] : 12);
        if (length[i] > 12) {
            put32(view + 8, i & 1);
            put32(view + 12, (uint32_t)sizes[i & 1]);
            memcpy(text[i & 1] + sizes[i & 1], where[i], length[i]);
            sizes[i & 1] += length[i];
            outside = i;
        }
        if (i % 5) bits[(i + 3) / 8] |= (uint8_t)(1u << (i + 3) % 8);
        wanted[i] = i % 5 ? verdicts[i] : MG_R_email_empty;
    }
    const uint8_t *buffers[2] = {text[0], text[1]};
    for (int isa = 0; isa < MG_ISA_COUNT; isa++) {
        if (mg_isa_force((mg_isa)isa) != 0) continue;
        memset(reasons, 0xee, sizeof reasons);
        ensure(mg_address_string_views(views, buffers, sizes, 2, NULL, 0, count, options, reasons) == MG_OK);
        ensure(memcmp(reasons, verdicts, count) == 0);
        ensure(mg_address_string_views(views, buffers, sizes, 2, bits, 3, count, options, reasons) == MG_OK);
        ensure(memcmp(reasons, wanted, count) == 0);
    }
    for (uint32_t damage = 0; outside < count && damage < 6; damage++) {
        uint8_t *view = views + 16 * outside, before[16];
        memcpy(before, view, 16);
        if (damage == 0) put32(view, 0xffffffff);
        if (damage == 1) put32(view, length[outside] + 1); /* what is last in its buffer */
        if (damage == 2) put32(view + 8, 2);
        if (damage == 3) put32(view + 8, 0xffffffff);
        if (damage == 4) put32(view + 12, 0xffffffff);
        if (damage == 5) put32(view + 12, 0x7fffffff);
        ensure(mg_address_string_views(views, buffers, sizes, 2, bits, 3, count, options, reasons) == MG_CORRUPT);
        memcpy(view, before, 16);
    }
    free(views);
    free(text[0]);
    free(text[1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0) return 0;
    uint32_t options = data[0] & 3;
    const uint8_t *p = data + 1;
    size_t n = size - 1, count = 0;
    int64_t off[MAX + 1];
    int32_t off32[MAX + 1];
    uint8_t *text = malloc(n ? n : 1), *wanted = malloc(n ? n : 1);
    ensure(text && wanted);
    off[0] = off32[0] = 0;
    for (size_t i = 0, made = 0; i < n && count < MAX; i++) {
        if (p[i] != '\n') text[made++] = p[i];
        if (p[i] == '\n' || i == n - 1) {
            off[++count] = (int64_t)made;
            off32[count] = (int32_t)made;
        }
    }
    size_t used = (size_t)off[count];
    uint8_t *exact = copy_of(text, used), reasons[MAX], verdicts[MAX];
    uint32_t places[MAX];

    ensure(mg_isa_force(MG_ISA_SCALAR) == 0);
    for (size_t i = 0; i < count; i++) {
        size_t len = (size_t)(off[i + 1] - off[i]);
        uint8_t *one = copy_of(text + off[i], len), *low = malloc(len ? len : 1);
        ensure(low != NULL);
        verdicts[i] = (uint8_t)mg_address_check(one, len, options, low, &places[i]);
        ensure(verdicts[i] < MG_REASON_COUNT);
        ensure(verdicts[i] == MG_R_email_empty || verdicts[i] == MG_R_ok || places[i] < len);
        if (verdicts[i] == MG_R_ok) {
            promises(one, len, low, options);
            memcpy(wanted + off[i], low, len);
        }
        free(one);
        free(low);
    }
    const uint8_t *where[MAX];
    uint32_t length[MAX];
    for (size_t i = 0; i < count; i++) {
        length[i] = (uint32_t)(off[i + 1] - off[i]);
        where[i] = copy_of(text + off[i], length[i]);
    }
    for (int isa = 0; isa < MG_ISA_COUNT; isa++) {
        if (mg_isa_force((mg_isa)isa) != 0) continue;
        for (size_t i = 0; i < count; i++) {
            uint32_t at = 77;
            uint8_t *low = copy_of(where[i], length[i]); /* in place: norm may be p */
            ensure(mg_address_check(low, length[i], options, low, &at) == verdicts[i] && at == places[i]);
            ensure(memcmp(low, verdicts[i] == MG_R_ok ? wanted + off[i] : where[i], length[i]) == 0);
            free(low);
        }
        for (int narrow = 0; narrow < 2; narrow++) {
            for (int with_norm = 0; with_norm < 2; with_norm++) {
                uint8_t *low = with_norm ? copy_of(exact, used) : NULL;
                memset(reasons, 0xee, sizeof reasons);
                if (narrow)
                    mg_address_many32(exact, off32, count, options, reasons, low);
                else
                    mg_address_many(exact, off, count, options, reasons, low);
                ensure(memcmp(reasons, verdicts, count) == 0);
                for (size_t i = 0; with_norm && i < count; i++)
                    ensure(verdicts[i] != MG_R_ok || memcmp(low + off[i], wanted + off[i], length[i]) == 0);
                free(low);
            }
        }
        memset(reasons, 0xee, sizeof reasons);
        mg_address_gather(where, length, count, options, reasons);
        ensure(memcmp(reasons, verdicts, count) == 0);
    }
    as_views(where, length, count, options, verdicts);
    for (size_t i = 0; i < count; i++) free((void *)where[i]);
    free(exact);
    free(text);
    free(wanted);
    return 0;
}
