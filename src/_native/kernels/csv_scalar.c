/* csv_scalar.c: csv_body.h without vectors. */
#include "simd/scalar.h"
#include "csv_body.h"
