/* encode_sse42.c: encode_body.h for one instruction set; on other processors nothing. */
#if defined(__x86_64__)
#include "simd/sse42.h"
#include "address_sse42.h"
#include "encode_body.h"
#include "simd/end.h"
#else
extern const char mg_encode_without_sse42;
const char mg_encode_without_sse42 = 1; /* C wants something in a file */
#endif
