/* csv_run.h: what csv.c (the lenient automaton) and csv_body.h (the mask scanner) share. Internal to the kernel. */
#ifndef MG_CSV_RUN_H
#define MG_CSV_RUN_H

#include "mg.h"

/* One call of mg_csv_scan. `pos` is always the start of a record (or, while skipping, of a field or of a tail). */
typedef struct {
    mg_csv *s;
    const uint8_t *p;
    size_t n;
    size_t pos;
    int eof;
    uint32_t max_rows;
    mg_batch *out;
} mg_csv_run;

/* Room for `rows` more rows and `fields` more fields. */
mg_status mg_csv_room(mg_batch *b, size_t rows, size_t fields);

/* The mask scanner: appends the rows from run->pos on, up to the first record that it must leave to the automaton (bad
 * quotes, a limit, the end of the input) or max_rows. The automaton goes on at run->pos. MG_OK or MG_NOMEM. */
mg_status mg_csv_masks_scalar(mg_csv_run *run);
void mg_csv_shape_scalar(const mg_csv_dialect *d, const uint8_t *p, size_t n, mg_csv_shape *out);
#if defined(__x86_64__)
mg_status mg_csv_masks_sse42(mg_csv_run *run);
mg_status mg_csv_masks_avx2(mg_csv_run *run);
mg_status mg_csv_masks_avx512(mg_csv_run *run);
void mg_csv_shape_sse42(const mg_csv_dialect *d, const uint8_t *p, size_t n, mg_csv_shape *out);
void mg_csv_shape_avx2(const mg_csv_dialect *d, const uint8_t *p, size_t n, mg_csv_shape *out);
void mg_csv_shape_avx512(const mg_csv_dialect *d, const uint8_t *p, size_t n, mg_csv_shape *out);
#elif defined(__aarch64__)
mg_status mg_csv_masks_neon(mg_csv_run *run);
void mg_csv_shape_neon(const mg_csv_dialect *d, const uint8_t *p, size_t n, mg_csv_shape *out);
#endif

#endif
