/* encode_neon.c: encode_body.h for one instruction set; on other processors nothing. */
#if defined(__aarch64__)
#include "simd/neon.h"
#include "address_neon.h"
#include "encode_body.h"
#include "simd/end.h"
#else
extern const char mg_encode_without_neon;
const char mg_encode_without_neon = 1; /* C wants something in a file */
#endif
