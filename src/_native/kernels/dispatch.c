/* Picks the instruction set once. What the processor offers counts only if the system saves its registers (XGETBV). */
#include "mg.h"

#include <stdlib.h>
#include <string.h>

static const char *const names[MG_ISA_COUNT] = {"scalar", "sse42", "avx2", "avx512", "neon"};

const char *mg_isa_name(mg_isa isa) { return (unsigned)isa < MG_ISA_COUNT ? names[isa] : "unknown"; }

#if defined(__x86_64__)
#include <cpuid.h>

static uint64_t xgetbv0(void) {
    uint32_t lo, hi;
    __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
    return ((uint64_t)hi << 32) | lo;
}

int mg_isa_supported(mg_isa isa) {
    uint32_t a, b, c, d;
    if (isa == MG_ISA_SCALAR) return 1;
    if (!__get_cpuid(1, &a, &b, &c, &d)) return 0;
    int sse42 = (c >> 20 & 1) && (c >> 23 & 1) && (c >> 1 & 1); /* SSE4.2, POPCNT, PCLMULQDQ */
    int saved = (c >> 27 & 1) ? 1 : 0;                         /* OSXSAVE */
    uint64_t xcr = saved ? xgetbv0() : 0;
    if (isa == MG_ISA_SSE42) return sse42;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return 0;
    int avx2 = sse42 && (b >> 5 & 1) && (b >> 3 & 1) && (b >> 8 & 1) && (xcr & 6) == 6; /* AVX2, BMI1, BMI2 */
    if (isa == MG_ISA_AVX2) return avx2;
    if (isa == MG_ISA_AVX512) /* F, BW, VL, VBMI, VBMI2: Ice Lake, Zen 4 and later */
        return avx2 && (b >> 16 & 1) && (b >> 30 & 1) && (b >> 31 & 1) && (c >> 1 & 1) && (c >> 6 & 1) &&
               (xcr & 0xe6) == 0xe6;
    return 0;
}
#elif defined(__aarch64__)
int mg_isa_supported(mg_isa isa) { return isa == MG_ISA_SCALAR || isa == MG_ISA_NEON; }
#else
int mg_isa_supported(mg_isa isa) { return isa == MG_ISA_SCALAR; }
#endif

static int chosen = -1; /* written with the same value by whoever comes first: a race is harmless */

static mg_isa best(void) {
    static const mg_isa order[] = {MG_ISA_AVX512, MG_ISA_AVX2, MG_ISA_SSE42, MG_ISA_NEON};
    const char *wanted = getenv("MG_ISA");
    if (wanted)
        for (int i = 0; i < MG_ISA_COUNT; i++)
            if (strcmp(wanted, names[i]) == 0 && mg_isa_supported((mg_isa)i)) return (mg_isa)i;
    for (size_t i = 0; i < sizeof order / sizeof *order; i++)
        if (mg_isa_supported(order[i])) return order[i];
    return MG_ISA_SCALAR;
}

mg_isa mg_isa_current(void) {
    int isa = __atomic_load_n(&chosen, __ATOMIC_RELAXED);
    if (isa < 0) {
        isa = (int)best();
        __atomic_store_n(&chosen, isa, __ATOMIC_RELAXED);
    }
    return (mg_isa)isa;
}

int mg_isa_force(mg_isa isa) {
    if (!mg_isa_supported(isa)) return -1;
    __atomic_store_n(&chosen, (int)isa, __ATOMIC_RELAXED);
    return 0;
}
