/* address_body16.h: loading an address in vectors of 16 bytes, for the instruction sets that have no wider ones (SSE4.2,
 * NEON). The including file defines vec, load, store, load8x2, store8x2, marks_of (clean: 16 bits) and lowered. */

#define MG_CLEAN 0
#define ABREAST 1 /* shifts by a count of its own for each word are what vectors of 16 bytes lack, or too few for */
typedef uint64_t lanes;
#define nonzero(v) ((v) != 0)

/* b is about the bytes from `shift` on; where both speak of a byte they agree. */
INLINE mg_address_marks joined(mg_address_marks a, mg_address_marks b, unsigned shift) {
    a.at |= b.at << shift;
    a.dot |= b.dot << shift;
    a.hyphen |= b.hyphen << shift;
    a.alnum |= b.alnum << shift;
    a.atext |= b.atext << shift;
    return a;
}

/* The last vector overlaps the one before it, so every length is read exactly. */
INLINE mg_address_marks marks_exact(const uint8_t *p, size_t n) {
    if (n < 16) {
        mg_address_marks m = marks_of(load8x2(p, p + n - 8));
        mg_address_marks a = {m.at & 255, m.dot & 255, m.hyphen & 255, m.alnum & 255, m.atext & 255};
        mg_address_marks b = {m.at >> 8, m.dot >> 8, m.hyphen >> 8, m.alnum >> 8, m.atext >> 8};
        return joined(a, b, (unsigned)(n - 8));
    }
    mg_address_marks m = joined(marks_of(load(p)), marks_of(load(p + n - 16)), (unsigned)(n - 16));
    for (unsigned i = 16; i + 16 < n; i += 16) m = joined(m, marks_of(load(p + i)), i);
    return m;
}

INLINE mg_address_marks marks_slack(const uint8_t *p, size_t n) {
    mg_address_marks m = joined(marks_of(load(p)), marks_of(load(p + 16)), 16);
    for (unsigned i = 32; i < n; i += 16) m = joined(m, marks_of(load(p + i)), i);
    return m;
}

/* The last vector is loaded before anything is stored, and stored last: norm may be p. */
INLINE void lower_exact(uint8_t *norm, const uint8_t *p, size_t n) {
    if (n < 16) {
        store8x2(norm, norm + n - 8, lowered(load8x2(p, p + n - 8)));
        return;
    }
    vec last = lowered(load(p + n - 16));
    for (unsigned i = 0; i + 16 < n; i += 16) store(norm + i, lowered(load(p + i)));
    store(norm + n - 16, last);
}

INLINE void lower_slack(uint8_t *norm, const uint8_t *p, size_t n) {
    for (unsigned i = 0; i < n; i += 16) store(norm + i, lowered(load(p + i)));
}
