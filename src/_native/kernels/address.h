/* address.h: what the address files share, and the encoder, which asks the same masks. Not part of the API.
 *
 * There is one judge, mg_address_judge (address.c), which knows every rule and every reason. The instruction-set files
 * only know how to recognise an ordinary good address; whatever they do not recognise goes to the judge. So a fault in
 * one of them can cost speed or accept wrongly, but never invents a reason, and "equal to scalar" is the whole test. */
#ifndef MG_ADDRESS_H
#define MG_ADDRESS_H

#include "mg.h"

#define MG_ADDRESS_SWIFT_MAX 64u /* longest address an instruction-set file looks at: one bit a byte in a uint64_t */
#define MG_ADDRESS_SWIFT_MIN 8u  /* shortest one: the top label is read with one 8-byte load that ends at its end */

/* The reference. norm may be NULL; it may also be p itself. */
mg_reason mg_address_judge(const uint8_t *p, size_t n, uint32_t options, uint8_t *norm, uint32_t *at);

/* What an instruction set says about the bytes of one address: bit i is about byte i. */
typedef struct {
    uint64_t at, dot, hyphen; /* clear behind the address's end where MG_CLEAN is 1 */
    uint64_t alnum;           /* letters and digits */
    uint64_t atext;           /* RFC 5322 atext: what may stand in an unquoted local part, dots aside */
} mg_address_marks;

/* One instruction set's versions of the batch entries; see mg.h for what they do. Plain functions and a switch, not
 * tables of pointers: those would need relocating, so they would be writable data. */
#define MG_ADDRESS_DECLARE(isa)                                                                                        \
    mg_reason mg_address_check_##isa(const uint8_t *p, size_t n, uint32_t options, uint8_t *norm, uint32_t *at);       \
    void mg_address_many_##isa(const uint8_t *p, const int64_t *off, size_t n, uint32_t options, uint8_t *reasons,     \
                               uint8_t *norm);                                                                         \
    void mg_address_many32_##isa(const uint8_t *p, const int32_t *off, size_t n, uint32_t options, uint8_t *reasons,   \
                                 uint8_t *norm);                                                                       \
    void mg_address_gather_##isa(const uint8_t *const *p, const uint32_t *len, size_t n, uint32_t options,             \
                                 uint8_t *reasons);
#if defined(__x86_64__)
MG_ADDRESS_DECLARE(sse42)
MG_ADDRESS_DECLARE(avx2)
MG_ADDRESS_DECLARE(avx512)
#elif defined(__aarch64__)
MG_ADDRESS_DECLARE(neon)
#endif

#endif
