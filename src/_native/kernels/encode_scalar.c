/* encode_scalar.c: encode_body.h without vectors. */
#include "simd/scalar.h"
#include "address.h"
#include "encode_body.h"
