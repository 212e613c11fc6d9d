/* text_neon.c: text_body.h for one instruction set; on other processors nothing. */
#if defined(__aarch64__)
#include "simd/neon.h"
#include "text_body.h"
#include "simd/end.h"
#else
extern const char mg_text_without_neon;
const char mg_text_without_neon = 1; /* C wants something in a file */
#endif
