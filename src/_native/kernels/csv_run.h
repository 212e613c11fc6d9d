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

#endif
