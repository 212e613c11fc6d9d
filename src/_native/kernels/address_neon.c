/* address_neon.c: address_body.h for one instruction set; on other processors nothing. */
#if defined(__aarch64__)
#include "address_neon.h"
#include "address_body.h"
#else
extern const char mg_address_no_neon; /* another processor: the object still shows that it was built */
const char mg_address_no_neon = 1;
#endif
