/* encode_avx512.c: encode_body.h for one instruction set; on other processors nothing. */
#if defined(__x86_64__)
#include "simd/avx512.h"
#include "address_avx512.h"
#include "encode_body.h"
#include "simd/end.h"
#else
extern const char mg_encode_without_avx512;
const char mg_encode_without_avx512 = 1; /* C wants something in a file */
#endif
