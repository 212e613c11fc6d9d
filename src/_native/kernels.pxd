# mg.h as Cython sees it: everything nogil noexcept. Kernels' own sections are added beside their bindings.
from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef extern from "mg.h" nogil:
    ctypedef enum mg_status:
        MG_OK, MG_NOMEM, MG_FULL, MG_NEED_MORE, MG_DONE, MG_DRAIN, MG_CORRUPT

    ctypedef enum mg_isa:
        MG_ISA_SCALAR, MG_ISA_COUNT
    mg_isa mg_isa_current() noexcept
    int mg_isa_supported(mg_isa isa) noexcept
    int mg_isa_force(mg_isa isa) noexcept
    const char *mg_isa_name(mg_isa isa) noexcept

    ctypedef struct mg_buf:
        uint8_t *data
        size_t len
        size_t cap
    void mg_buf_init(mg_buf *b) noexcept
    void mg_buf_free(mg_buf *b) noexcept
    mg_status mg_buf_reserve(mg_buf *b, size_t more) noexcept
    mg_status mg_buf_put(mg_buf *b, const void *p, size_t n) noexcept
    void *mg_alloc(size_t n) noexcept
    void mg_free(void *p) noexcept

    ctypedef struct mg_field:
        uint32_t off
        uint32_t len
    uint32_t MG_FIELD_QUOTED
    uint32_t MG_FIELD_ESCAPED
    uint32_t MG_FIELD_LEN
    ctypedef struct mg_row:
        uint64_t line
        uint32_t field
        uint32_t count
        uint32_t off
        uint32_t len
        uint32_t error
        uint32_t column
    ctypedef struct mg_batch:
        const uint8_t *base
        mg_row *rows
        mg_field *fields
        uint32_t n_rows
        uint32_t cap_rows
        uint32_t n_fields
        uint32_t cap_fields
    void mg_batch_init(mg_batch *b) noexcept
    void mg_batch_free(mg_batch *b) noexcept
