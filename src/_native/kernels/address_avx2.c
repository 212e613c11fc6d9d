/* address_avx2.c: address_body.h for one instruction set; on other processors nothing. */
#if defined(__x86_64__)
#ifndef __clang__
#pragma GCC target("avx2,bmi,bmi2,lzcnt,popcnt")
#endif
#include "address.h"

#include <immintrin.h>
#include <string.h>

#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2,bmi,bmi2,lzcnt,popcnt"))), apply_to = function)
#endif

#include "address_avx2.h"
#include "address_body.h"
#ifdef __clang__
#pragma clang attribute pop
#endif
#else
extern const char mg_address_no_avx2; /* another processor: the object still shows that it was built */
const char mg_address_no_avx2 = 1;
#endif
