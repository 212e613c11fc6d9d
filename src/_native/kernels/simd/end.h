/* Closes what the header of an instruction set opened: it stands last in a file. */
#if defined(MG_SIMD_X86)
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif
