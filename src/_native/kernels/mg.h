/* mg.h: the whole C API of the kernels, on one page.
 *
 * Kernels know bytes and memory. They never touch Python, files, clocks, threads, stdout or abort().
 * A function that can fail returns mg_status; what was asked for is written only when it is MG_OK.
 * Who frees what: the caller frees what it inits (x_init / x_free). Nothing else is allocated.
 * All integers are host-endian in structs; the COPY encoder alone writes network order.
 */
#ifndef MG_H
#define MG_H

#include <stddef.h>
#include <stdint.h>

typedef enum {
    MG_OK = 0,
    MG_NOMEM,     /* malloc refused: nothing was changed */
    MG_FULL,      /* the output has no room for the next whole item; what was written is complete */
    MG_NEED_MORE, /* input is used up and is not the end of it */
    MG_DONE,      /* nothing is left */
    MG_DRAIN,     /* the list of duplicates is full: empty it and go on */
    MG_CORRUPT    /* input that only a bug or a damaged spill file can produce */
} mg_status;

/* Row and address verdicts, one table for C and Python: reasons.h */
#define MG_REASON(name, code, text) MG_R_##name,
typedef enum {
#include "reasons.h"
    MG_REASON_COUNT
} mg_reason;
#undef MG_REASON

/* ---- dispatch.c: the instruction set, chosen once; MG_ISA=<name> in the environment forces one ---- */
typedef enum { MG_ISA_SCALAR = 0, MG_ISA_SSE42, MG_ISA_AVX2, MG_ISA_AVX512, MG_ISA_NEON, MG_ISA_COUNT } mg_isa;
mg_isa mg_isa_current(void);
int mg_isa_supported(mg_isa isa);  /* 1 if this processor and system can run it */
int mg_isa_force(mg_isa isa);      /* 0 if done, -1 if not supported; for tests and benchmarks */
const char *mg_isa_name(mg_isa isa);

/* ---- arena.c: the only allocator; growing byte buffers ---- */
typedef struct {
    uint8_t *data;
    size_t len, cap;
} mg_buf;
void mg_buf_init(mg_buf *b);
void mg_buf_free(mg_buf *b);
mg_status mg_buf_reserve(mg_buf *b, size_t more); /* room for `more` bytes after len */
mg_status mg_buf_put(mg_buf *b, const void *p, size_t n);
void *mg_alloc(size_t n);                         /* 64-byte aligned; large blocks ask for huge pages */
void *mg_realloc(void *p, size_t old_n, size_t n);
void mg_free(void *p);

/* ---- rows as spans: what csv.c and the Arrow binding make, and what encode.c reads ---- */
#define MG_FIELD_QUOTED 0x80000000u  /* the span is inside its quotes (they are not part of it) */
#define MG_FIELD_ESCAPED 0x40000000u /* it holds quotes, to be resolved on reading: mg_field_unescape. Comes with QUOTED */
#define MG_FIELD_LEN 0x3fffffffu
typedef struct {
    uint32_t off; /* from batch.base */
    uint32_t len; /* length | flags */
} mg_field;

typedef struct {
    uint64_t line;  /* 1-based physical line the record begins on (Arrow: row number) */
    uint32_t field; /* index of its first field in batch.fields */
    uint32_t count; /* number of fields */
    uint32_t off;   /* the raw record, without its line end, from batch.base; records follow one another */
    uint32_t len;
    uint32_t error; /* MG_R_ok, or why the record can't be read: MG_R_row_* */
    uint32_t column; /* 0-based field the error is about, when there is one */
} mg_row;

typedef struct {
    const uint8_t *base;
    mg_row *rows;
    mg_field *fields;
    uint32_t n_rows, cap_rows;
    uint32_t n_fields, cap_fields;
} mg_batch;
void mg_batch_init(mg_batch *b);
void mg_batch_free(mg_batch *b);
/* Reads an ESCAPED span: a doubled quote is one; at a single one the quoted part ends (it is dropped) and the rest is
 * taken as it is ("ab""c"d"e has the span ab""c"d"e and reads ab"cd"e). out has room for n bytes; returns how many. */
size_t mg_field_unescape(const uint8_t *p, size_t n, uint8_t quote, uint8_t *out);

/* ---- csv.c: delimited text -> rows ---- */
typedef struct {
    uint8_t delimiter;    /* , ; tab | or any ASCII byte but quote, CR, LF */
    uint8_t quote;        /* usually '"'; 0: none */
    uint8_t trim;         /* 1: spaces and tabs around a field (also around its quotes) are dropped */
    uint8_t lenient;      /* 1: read all by the automaton that defines the answer, slowly (tests) */
    uint32_t max_field;   /* bytes of one field, default 1 MiB; never more than max_row */
    uint32_t max_row;     /* bytes of one record, default 16 MiB */
    uint32_t max_columns; /* fields of one record, default 4096 */
} mg_csv_dialect;

typedef struct {
    mg_csv_dialect dialect;
    uint64_t line; /* the line the next record begins on; 1 at the start */
    uint32_t skipping; /* not 0: in a record that was reported as too long, whose rest is passed over */
    uint32_t reserved;
} mg_csv;
void mg_csv_init(mg_csv *s, const mg_csv_dialect *dialect);
/* Reads whole records from p[0..n). `out` is overwritten; its base is p. *used says how many bytes were consumed:
 * give the rest again, followed by more input. eof = 1: the input ends at p+n, so a last record without newline counts,
 * and a quote still open there is reported on the line it began on, after which reading goes on behind that line.
 * Stops early (MG_FULL) when out holds max_rows records. MG_NEED_MORE when no whole record is in sight: double the
 * buffer then (it is read again from the record's start); max_row + 2 bytes always suffice.
 * p need not be padded. Line ends: LF, CRLF, CR, mixed. Lines with nothing on them (with trim: or only spaces and tabs)
 * are skipped. A byte order mark is not looked for. Rows with an error have no fields, and raw is what could be kept of
 * the record: see csv.c. Fields that belong to no row may lie between those of the rows. */
mg_status mg_csv_scan(mg_csv *s, const uint8_t *p, size_t n, int eof, uint32_t max_rows, mg_batch *out, size_t *used);
/* Structure alone (for benchmarks, splitting and tests): records in p[0..n) and whether every quote obeys RFC 4180. */
typedef struct {
    uint64_t records, fields;
    int strict; /* 1: all quotes open and close at field boundaries */
    int open;   /* 1: a quote is open at the end */
} mg_csv_shape;
void mg_csv_structure(const mg_csv_dialect *d, const uint8_t *p, size_t n, mg_csv_shape *out);

/* ---- text.c: encodings ---- */
size_t mg_utf8_valid(const uint8_t *p, size_t n); /* length of the longest valid prefix (whole characters); n if all */
int mg_utf8_has_nul(const uint8_t *p, size_t n);
/* Transcoders write UTF-8 to out and return MG_OK or MG_FULL; *used and *made say how far they came. A byte that the
 * source encoding does not define becomes the byte 0xFF, which is never valid UTF-8: the row that holds it is then
 * reported with its position. out needs 3 bytes for each byte of input at most. */
mg_status mg_from_cp1252(const uint8_t *p, size_t n, uint8_t *out, size_t cap, size_t *used, size_t *made);
mg_status mg_from_latin1(const uint8_t *p, size_t n, uint8_t *out, size_t cap, size_t *used, size_t *made);
mg_status mg_from_utf16(const uint8_t *p, size_t n, int big_endian, int eof, uint8_t *out, size_t cap, size_t *used,
                        size_t *made);

/* ---- address.c: is this an address one can send to? ---- */
#define MG_ADDR_ALLOW_QUOTED 1u      /* RFC 5321 Quoted-string local parts */
#define MG_ADDR_ALLOW_SPECIAL_USE 2u /* RFC 6761 top labels: arpa invalid local localhost onion test */
#define MG_ADDR_MAX 254u
/* Checks p[0..n) and writes the lower-cased form to norm (room for n bytes; ASCII keeps its length).
 * Returns MG_R_ok, a reason, or MG_R_email_idn: it holds non-ASCII bytes or an A-label, so the slow path decides.
 * *at = offset of the byte the reason is about (0 with MG_R_ok). norm is written only with MG_R_ok; it may be NULL or p. */
mg_reason mg_address_check(const uint8_t *p, size_t n, uint32_t options, uint8_t *norm, uint32_t *at);
/* Address i is p[off[i] .. off[i+1]); norm gets the lower-cased bytes at the same offsets (NULL: verdicts
 * only), and what is not MG_R_ok may hold anything there. Offsets rise; off[0] need not be 0. */
void mg_address_many(const uint8_t *p, const int64_t *off, size_t n, uint32_t options, uint8_t *reasons, uint8_t *norm);
void mg_address_many32(const uint8_t *p, const int32_t *off, size_t n, uint32_t options, uint8_t *reasons,
                       uint8_t *norm);
/* Addresses that lie anywhere in memory, such as the str objects of a list: address i is p[i][0 .. len[i]). */
void mg_address_gather(const uint8_t *const *p, const uint32_t *len, size_t n, uint32_t options, uint8_t *reasons);
/* Addresses behind Arrow's string views, 16 bytes each: int32 length, then up to 12 bytes of text, or 4 of them, the int32
 * number of a buffer and the int32 place in it. sizes[b] = bytes of buffers[b]. bits: NULL, or bit `bit + i` is 0 where
 * view i is null, which counts as empty. MG_CORRUPT: a view, null or not, does not lie inside its buffer; reasons then
 * hold anything. */
mg_status mg_address_string_views(const uint8_t *views, const uint8_t *const *buffers, const int64_t *sizes,
                                  size_t n_buffers, const uint8_t *bits, size_t bit, size_t n, uint32_t options,
                                  uint8_t *reasons);
/* The text of one such view, *len bytes of it; NULL: it does not lie inside its buffer. */
static inline const uint8_t *mg_string_view_text(const uint8_t *view, const uint8_t *const *buffers,
                                                 const int64_t *sizes, size_t n_buffers, uint32_t *len) {
    int32_t part[4];
    for (size_t i = 0; i < 16; i++) ((uint8_t *)part)[i] = view[i];
    *len = (uint32_t)part[0];
    if ((uint32_t)part[0] <= 12) return view + 4;
    if (part[0] < 0 || (uint32_t)part[2] >= n_buffers || part[3] < 0 || part[3] + (int64_t)part[0] > sizes[part[2]])
        return NULL;
    return buffers[part[2]] + part[3];
}

/* ---- seen.c: exact set of byte strings (keys are compared, not only hashed) ---- */
typedef struct mg_seen mg_seen;
mg_seen *mg_seen_new(size_t expected, uint64_t seed); /* seed: random, secret; NULL: no memory */
void mg_seen_free(mg_seen *s);
/* *first = `value` of the earlier equal key, *added = 0; or *added = 1 and value is kept. Keys up to 65,535 bytes
 * (longer, or offsets that fall: MG_CORRUPT); 4 GiB of entries (more: MG_FULL, and what came before is in). */
mg_status mg_seen_add(mg_seen *s, const uint8_t *key, size_t n, uint32_t value, uint32_t *first, int *added);
/* Keys i = p[off[i]..off[i+1]), values base+i; first[i] = value of the first equal key (its own, if new). */
mg_status mg_seen_add_many(mg_seen *s, const uint8_t *p, const int64_t *off, size_t n, uint32_t base, uint32_t *first);
int mg_seen_has(const mg_seen *s, const uint8_t *key, size_t n, uint32_t *value);
size_t mg_seen_count(const mg_seen *s);
size_t mg_seen_bytes(const mg_seen *s);

/* ---- encode.c: rows -> lead records ----
 * A record is what the import sorts, spills and merges: the fields of one lead in PostgreSQL's binary COPY form.
 *   uint32 size of the whole record | uint64 line | then, for each of the MG_LEAD_FIELDS, int32 (network order) length,
 *   or -1 for NULL, and the bytes. E-mail is the first field, so the key stands at a fixed place.
 * NULL means that the file says nothing: an insert fills in the default (mg_pg_copy), an update leaves what is there. */
typedef enum {
    MG_LEAD_EMAIL = 0, MG_LEAD_FIRST_NAME, MG_LEAD_LAST_NAME, MG_LEAD_PHONE, MG_LEAD_COMPANY, MG_LEAD_CITY,
    MG_LEAD_COUNTRY, MG_LEAD_TAGS, MG_LEAD_ATTRIBUTES, MG_LEAD_STATUS, MG_LEAD_SCORE, MG_LEAD_CREATED_AT, MG_LEAD_FIELDS
} mg_lead_field;
#define MG_RECORD_HEAD 12u /* size + line */

typedef enum { MG_DATES_ISO = 0, MG_DATES_DMY, MG_DATES_MDY } mg_dates;

typedef struct {
    uint32_t columns;          /* how many fields a record must have */
    uint32_t pad;              /* 1: short records are filled up with empty fields instead of rejected */
    const int16_t *target;     /* for each column an mg_lead_field, MG_TARGET_ATTRIBUTE or MG_TARGET_IGNORE */
    const uint32_t *max_chars; /* for each column, characters (not bytes) */
    const uint8_t *names;      /* attribute names as JSON strings with their quotes, one behind the other */
    const uint32_t *name_off;  /* columns + 1 offsets into names */
    uint32_t address_options;
    uint8_t dates;             /* mg_dates */
    uint8_t tag_separator;     /* 0: try ; then , then | */
    uint16_t untrimmed;        /* 1: fields without quotes may have blanks around them (a dialect without trim) */
    const uint8_t *tags;       /* the import's own tags as COPY text[] elements (int32 length + bytes each): added to
                                  the tags of a lead that has some; a lead without any gets NULL */
    uint32_t tags_len, n_tags;
    uint32_t quote;            /* the batch's quote byte, halved in MG_FIELD_ESCAPED fields */
} mg_plan;
#define MG_TARGET_ATTRIBUTE (-1)
#define MG_TARGET_IGNORE (-2)

typedef struct {
    uint32_t row;    /* index into batch.rows */
    uint32_t column; /* 0-based */
    uint32_t reason; /* mg_reason */
    uint32_t at;     /* byte offset in the field */
} mg_problem;

typedef struct {
    mg_buf records;      /* records one behind the other, in file order */
    size_t n_records;
    mg_problem *problems; /* rejected rows, and rows whose reason is MG_R_email_idn: resolve those, then call
                             mg_encode_row with the normalised address */
    size_t n_problems, cap_problems;
    mg_buf scratch, text, columns; /* work space */
} mg_records;
void mg_records_init(mg_records *r);
void mg_records_clear(mg_records *r); /* empties records and problems, keeps the memory */
void mg_records_free(mg_records *r);
/* Appends the records of all rows, in order. On MG_NOMEM out is as it was before. Field offsets (mg_problem.at) count in
 * the field as it is read: inside its quotes, doubled quotes counted once, outer blanks counted. */
mg_status mg_encode(const mg_plan *plan, const mg_batch *batch, mg_records *out);
mg_status mg_encode_row(const mg_plan *plan, const mg_batch *batch, uint32_t row, const uint8_t *email,
                        uint32_t email_len, mg_records *out);
/* dates.c: `order` is an mg_dates; *micros counts from 2000-01-01 UTC. MG_R_ok, MG_R_date_syntax or MG_R_date_range. */
mg_reason mg_timestamp_parse(const uint8_t *p, size_t n, uint8_t order, int64_t *micros, uint32_t *at);

/* ---- sort.c: records -> sorted blocks -> one sorted, deduplicated stream ---- */
mg_status mg_sort_count(const uint8_t *p, size_t n, size_t *count); /* of the records in p[0..n) */
mg_status mg_sort_key(const uint8_t *p, size_t n, const uint8_t **key, size_t *key_len); /* of the first of them */
/* Sorts the records in p[0..n) by (e-mail bytes, line). items: room for `count`; scratch likewise. n <= 4 GiB. */
typedef struct { uint64_t prefix; uint32_t off; uint32_t rest; } mg_sort_item; /* 16 bytes a record */
mg_status mg_sort_records(const uint8_t *p, size_t n, size_t count, mg_sort_item *items, mg_sort_item *scratch);
/* Copies whole records in sorted order into out, from items[*next] on; *made = bytes. MG_OK: that was the last one;
 * MG_FULL: the next one would pass cap; MG_DONE: there was none left. */
mg_status mg_sort_write(const uint8_t *p, size_t n, const mg_sort_item *items, size_t count, size_t *next, uint8_t *out,
                        size_t cap, size_t *made);

/* K sorted inputs, each read through a window that the caller refills. */
typedef struct {
    const uint8_t *p; /* the window: whole records */
    size_t len, pos;
    int eof;          /* no window follows */
} mg_merge_input;
typedef struct {
    uint64_t line; /* of the duplicate */
    uint32_t off;  /* where the kept record stands in out: its key is the address, its line that of the first */
    uint32_t reserved;
} mg_duplicate;
typedef struct mg_merge mg_merge;
mg_merge *mg_merge_new(size_t inputs);
void mg_merge_free(mg_merge *m);
mg_merge_input *mg_merge_inputs(mg_merge *m);
/* Bounds, both optional (NULL, 0): records with lo < key (strictly) and key <= hi are merged, others skipped. */
mg_status mg_merge_bounds(mg_merge *m, const uint8_t *lo, size_t lo_len, const uint8_t *hi, size_t hi_len);
/* Appends merged records to out (their offsets to off) until max_records or max_bytes.
 * MG_NEED_MORE: refill inputs[*which] (or set its eof), call again with the same out; MG_FULL: out is a full chunk;
 * MG_DRAIN: out holds MG_CHUNK_DUPS duplicates (a hostile file may hold nothing else): read them, set out->n_dups to 0,
 * call again; MG_DONE: nothing is left (out may still hold records). A chunk never ends between two equal keys. */
#define MG_CHUNK_DUPS ((size_t)1 << 18)
typedef struct {
    mg_buf data;
    uint32_t *off;
    size_t n, cap;
    mg_duplicate *dups;
    size_t n_dups, cap_dups;
} mg_chunk;
void mg_chunk_init(mg_chunk *c);
void mg_chunk_clear(mg_chunk *c);
void mg_chunk_free(mg_chunk *c);
mg_status mg_merge_next(mg_merge *m, size_t max_records, size_t max_bytes, mg_chunk *out, size_t *which);

/* ---- pgcopy.c: PostgreSQL's binary formats ---- */
/* A text[] parameter of the keys of the chunk's records whose mask byte equals `want` (mask NULL: all). */
mg_status mg_pg_keys(const mg_chunk *c, const uint8_t *mask, uint8_t want, mg_buf *out);
/* The reverse: mask[i] = value for each record whose key is in the text[] at p, quickest if it is in order as the chunk is.
 * MG_CORRUPT: p is not a whole array, or holds NULLs. */
mg_status mg_pg_mark(const mg_chunk *c, const uint8_t *p, size_t n, uint8_t value, uint8_t *mask);
/* COPY BINARY tuples of those records: int16 field count, `head` (constant fields, already encoded), then the record's
 * lead fields (bit i of `fields` says whether field i is sent). A NULL field i is sent as
 * defaults[default_off[i] .. default_off[i+1]) where that is not empty (int32 length and bytes). No file header or trailer: *next goes on where the
 * last call stopped, so that a chunk leaves in pieces of about max_bytes. MG_DONE when all are out. */
mg_status mg_pg_copy(const mg_chunk *c, const uint8_t *mask, uint8_t want, uint32_t fields, const uint8_t *head,
                     size_t head_len, uint16_t head_fields, const uint8_t *defaults, const uint32_t *default_off,
                     size_t max_bytes, size_t *next, mg_buf *out);

/* ---- histogram.c: durations in nanoseconds, quantiles within 2 %, in 9,776 bytes ---- */
#define MG_HIST_BUCKETS 1216u
#define MG_HIST_LIMIT ((uint64_t)1 << 42) /* 73 minutes; what is not below it is counted in the last bucket */
typedef struct {
    uint64_t count, overflow; /* overflow: how many were not below the limit */
    uint64_t sum, sum_high;   /* exact, of the values as they were: 128 bits */
    uint64_t min, max;        /* likewise; min is UINT64_MAX while there are none */
    uint64_t bucket[MG_HIST_BUCKETS];
} mg_hist;
void mg_hist_init(mg_hist *h); /* also empties it */
void mg_hist_observe(mg_hist *h, uint64_t ns);
void mg_hist_merge(mg_hist *into, const mg_hist *from); /* may be the same: everything counts twice */
/* out[i] = the value at rank ceil(q[i] * count), counted from 1, each q in 0..1: exact for the first and the last rank,
 * else within 1/65 of it; for an overflowed one the limit or more. 0 if there are none. */
void mg_hist_quantiles(const mg_hist *h, const double *q, size_t n, uint64_t *out);
uint64_t mg_hist_last(uint32_t bucket); /* the largest value that belongs to it */

/* ---- slot.c: Redis Cluster ---- */
uint16_t mg_key_slot(const uint8_t *key, size_t n); /* 0..16383, of a key or its hash tag */

/* ---- resp.c: what Redis sends, an element at a time ---- */
#define MG_RESP_LINE 65536                    /* bytes of a line, without its type; \r\n among them */
#define MG_RESP_FLOAT 400                     /* bytes of a double */
#define MG_RESP_BIG 4096                      /* digits of a big number */
#define MG_RESP_BYTES ((int64_t)1 << 32)      /* of a string */
#define MG_RESP_ELEMENTS ((int64_t)1 << 32)   /* of an aggregate, pairs of a map */
typedef enum {
    MG_RESP_STRING, /* at, len; also a big number, as its digits */
    MG_RESP_ERROR,  /* at, len */
    MG_RESP_INTEGER, /* number */
    MG_RESP_DOUBLE,  /* at, len */
    MG_RESP_NULL,
    MG_RESP_TRUE,
    MG_RESP_FALSE,
    MG_RESP_ARRAY,     /* number elements follow; a set is one, too */
    MG_RESP_MAP,       /* number pairs follow */
    MG_RESP_ATTRIBUTE, /* number pairs follow, and then the value that they are about */
    MG_RESP_PUSH       /* number elements follow */
} mg_resp_kind;
typedef struct {
    mg_resp_kind kind;
    const uint8_t *at; /* in the input */
    size_t len;
    int64_t number;
    const char *why; /* MG_CORRUPT: what is there */
} mg_resp;
/* The element at p, which takes *used bytes. MG_NEED_MORE: it is not whole; *used is what it takes, 0 if that is not known yet. */
mg_status mg_resp_next(const uint8_t *p, size_t n, mg_resp *out, size_t *used);

/* ---- envelope.c: the head in front of a cached value ---- */
#define MG_ENVELOPE_HEAD 40
typedef enum { MG_ENVELOPE_OK, MG_ENVELOPE_FOREIGN, MG_ENVELOPE_FORMAT, MG_ENVELOPE_DAMAGED } mg_envelope_verdict;
typedef struct {
    uint8_t flags, serializer;
    uint32_t type;     /* hash of the schema */
    uint32_t fresh_ms; /* all ones: for ever */
    uint32_t load_us;
    int64_t made_us;
    uint64_t version;
} mg_envelope;
void mg_envelope_write(const mg_envelope *e, const uint8_t *key, size_t key_n, const uint8_t *payload, size_t n,
                       uint8_t head[MG_ENVELOPE_HEAD]);
/* `e` is written only if it is OK. */
mg_envelope_verdict mg_envelope_read(const uint8_t *data, size_t n, const uint8_t *key, size_t key_n, mg_envelope *e);

#endif
