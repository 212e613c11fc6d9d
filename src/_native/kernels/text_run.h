/* text_run.h: how text.c reaches the validators of the instruction sets. Internal to the kernel. */
#ifndef MG_TEXT_RUN_H
#define MG_TEXT_RUN_H

#include "mg.h"

/* How far the blocks of 64 bytes from p[at] on are without fault: see text_body.h. */
#if defined(__x86_64__)
size_t mg_utf8_sse42(const uint8_t *p, size_t at, size_t n);
size_t mg_utf8_avx2(const uint8_t *p, size_t at, size_t n);
size_t mg_utf8_avx512(const uint8_t *p, size_t at, size_t n);
#elif defined(__aarch64__)
size_t mg_utf8_neon(const uint8_t *p, size_t at, size_t n);
#endif

#endif
