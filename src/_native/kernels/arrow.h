/* arrow.h: the Arrow C data and stream interfaces, and rows made from their columns (arrow.c).
 *
 * The first three structs are an ABI: their layout is fixed by the specification ("The Arrow C data interface" and "The
 * Arrow C stream interface"). Whoever holds one calls its release once; a released one has release == NULL.
 * The guards are the specification's, for whoever brings the same structs along.
 */
#ifndef MG_ARROW_H
#define MG_ARROW_H

#include "mg.h"

#ifndef ARROW_C_DATA_INTERFACE
#define ARROW_C_DATA_INTERFACE
struct ArrowSchema {
    const char *format; /* the type, as a short string */
    const char *name;
    const char *metadata;
    int64_t flags;
    int64_t n_children;
    struct ArrowSchema **children;
    struct ArrowSchema *dictionary;
    void (*release)(struct ArrowSchema *);
    void *private_data;
};

struct ArrowArray {
    int64_t length;
    int64_t null_count; /* -1: not known */
    int64_t offset;     /* counts in elements, for every buffer */
    int64_t n_buffers;
    int64_t n_children;
    const void **buffers; /* the first is the validity bitmap, or NULL */
    struct ArrowArray **children;
    struct ArrowArray *dictionary;
    void (*release)(struct ArrowArray *);
    void *private_data;
};
#endif

#ifndef ARROW_C_STREAM_INTERFACE
#define ARROW_C_STREAM_INTERFACE
struct ArrowArrayStream {
    int (*get_schema)(struct ArrowArrayStream *, struct ArrowSchema *out); /* 0 or an errno */
    int (*get_next)(struct ArrowArrayStream *, struct ArrowArray *out);    /* a released array: the end */
    const char *(*get_last_error)(struct ArrowArrayStream *);
    void (*release)(struct ArrowArrayStream *);
    void *private_data;
};
#endif

typedef enum {
    MG_ARROW_NULL,
    MG_ARROW_BOOL,
    MG_ARROW_INT,      /* width 1, 2, 4, 8 */
    MG_ARROW_UINT,
    MG_ARROW_TEXT,     /* width of an offset: 4, 8 */
    MG_ARROW_VIEW,     /* 16-byte views: string_view, binary_view */
    MG_ARROW_DAY,      /* width 4: days; 8: milliseconds */
    MG_ARROW_TIME,     /* `unit` parts of a second since 1970 */
    MG_ARROW_LIST,     /* width of an offset; child: not another list */
    MG_ARROW_DICTIONARY /* integers that are indices into child; `width` and `negative` say which integers */
} mg_arrow_kind;

/* One column as it is read: what its ArrowArray and its type say, put together by the binding, which checked that the
 * buffers are there. */
typedef struct mg_arrow_column {
    mg_arrow_kind kind;
    uint8_t width;
    uint8_t negative; /* dictionary: its indices are signed */
    uint8_t zoned;    /* time: it is UTC, and says so */
    uint8_t reserved;
    int64_t unit;
    int64_t offset; /* of the array, to be added to every index */
    int64_t length; /* elements that may be asked for, without the offset */
    const uint8_t *valid; /* NULL: all are */
    const void *values; /* numbers, bits, offsets or views */
    const uint8_t *data; /* text, and the last of its offsets */
    int64_t data_len;
    const uint8_t *const *blocks; /* views: the data buffers, and how long they are */
    const int64_t *block_len;
    int64_t n_blocks;
    const struct mg_arrow_column *child;
} mg_arrow_column;

/* Appends rows first .. first+count of the columns to the batch, as CSV records with "," and '"' in `data`, in which all
 * offsets count, so that a row's raw bytes can be imported again. `valid`: validity of the rows themselves
 * (NULL: all; the fields of a null row are empty). Stops behind the row that takes data past max_bytes.
 * *made = rows appended. Rows whose field or record is too long have that error, no fields, and are cut off in front of
 * the field. MG_CORRUPT: offsets or indices that point outside. */
typedef struct {
    const mg_arrow_column *columns;
    uint32_t n_columns;
    const uint8_t *valid;
    uint32_t max_field, max_row;
    size_t max_bytes;
} mg_arrow_table;
mg_status mg_arrow_rows(const mg_arrow_table *table, int64_t first, int64_t count, uint64_t line, mg_buf *data,
                        mg_batch *batch, int64_t *made);

#endif
