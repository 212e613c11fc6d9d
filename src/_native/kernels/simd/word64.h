/* Bitmaps one block at a time, in plain integers; for the instruction sets that gain nothing from more. Included by their
 * headers, behind prefix_xor. The same names in avx2.h and avx512.h work on four and eight blocks at once. */
enum { LANES = 1 };
typedef uint64_t mg_word;
static inline mg_word word_load(const uint64_t *p) { return *p; }
static inline void word_store(uint64_t *p, mg_word a) { *p = a; }
static inline mg_word word_zero(void) { return 0; }
static inline mg_word word_top(void) { return (uint64_t)1 << 63; } /* the last bit of all is set, the others are not */
static inline mg_word word_and(mg_word a, mg_word b) { return a & b; }
static inline mg_word word_or(mg_word a, mg_word b) { return a | b; }
static inline mg_word word_xor(mg_word a, mg_word b) { return a ^ b; }
static inline mg_word word_less(mg_word a, mg_word b) { return a & ~b; }
/* The bit in front of each: bit i + 1 of a block is bit i of it, bit 0 of the next block in memory is bit 63. */
static inline mg_word word_ahead(mg_word a, mg_word one_block_on) { return a >> 1 | one_block_on << 63; }
/* The bit behind each; the first is the last of the word before. */
static inline mg_word word_behind(mg_word a, mg_word before) { return a << 1 | before >> 63; }
/* Bit i is the parity of all quotes up to and with i; *open (0 or 1): of those before the word, then of all. */
static inline mg_word word_inside(mg_word quote, unsigned *open) {
    uint64_t inside = prefix_xor(quote) ^ (0 - (uint64_t)*open);
    *open = (unsigned)(inside >> 63);
    return inside;
}
static inline unsigned word_blocks(mg_word a) { return a != 0; } /* bit j: block j has bits set */
