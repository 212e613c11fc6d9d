/* csv_avx512.c: csv_body.h (and csv_bits.h) for one instruction set; on other processors nothing. */
#if defined(__x86_64__)
#include "simd/avx512.h"
#include "csv_body.h"
#include "simd/end.h"
#else
extern const char mg_csv_without_avx512;
const char mg_csv_without_avx512 = 1; /* C wants something in a file */
#endif
