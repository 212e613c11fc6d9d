/* text_avx512.c: text_body.h for one instruction set; on other processors nothing. */
#if defined(__x86_64__)
#include "simd/avx512.h"
#include "text_body.h"
#include "simd/end.h"
#else
extern const char mg_text_without_avx512;
const char mg_text_without_avx512 = 1; /* C wants something in a file */
#endif
