/* csv_neon.c: csv_body.h (and csv_bits.h) for one instruction set; on other processors nothing. */
#if defined(__aarch64__)
#include "simd/neon.h"
#include "csv_body.h"
#include "simd/end.h"
#else
extern const char mg_csv_without_neon;
const char mg_csv_without_neon = 1; /* C wants something in a file */
#endif
