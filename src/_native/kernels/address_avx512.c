/* address_avx512.c: address_body.h for one instruction set; on other processors nothing. */
#if defined(__x86_64__)
#ifndef __clang__
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512vbmi,bmi,bmi2,lzcnt,popcnt")
#endif
#include "address.h"

#include <immintrin.h>
#include <string.h>

#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512vl,avx512vbmi,bmi,bmi2,lzcnt,popcnt"))), apply_to = function)
#endif

#include "address_avx512.h"
#include "address_body.h"
#ifdef __clang__
#pragma clang attribute pop
#endif
#else
extern const char mg_address_no_avx512; /* another processor: the object still shows that it was built */
const char mg_address_no_avx512 = 1;
#endif
