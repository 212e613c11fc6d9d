# Delimited text: CsvScanner fills Batches (csv.c). A Batch is what Records.encode reads.
cdef extern from "mg.h" nogil:
    size_t mg_field_unescape(const uint8_t *p, size_t n, uint8_t quote, uint8_t *out) noexcept
    ctypedef struct mg_csv_dialect:
        uint8_t delimiter
        uint8_t quote
        uint8_t trim
        uint32_t max_field
        uint32_t max_row
        uint32_t max_columns
    ctypedef struct mg_csv:
        mg_csv_dialect dialect
        uint64_t line
    void mg_csv_init(mg_csv *s, const mg_csv_dialect *dialect) noexcept
    mg_status mg_csv_scan(mg_csv *s, const uint8_t *p, size_t n, int eof, uint32_t max_rows, mg_batch *out,
                          size_t *used) noexcept
    ctypedef struct mg_csv_shape:
        uint64_t records
        uint64_t fields
        int strict
        int open
    void mg_csv_structure(const mg_csv_dialect *d, const uint8_t *p, size_t n, mg_csv_shape *out) noexcept

__all__ += ["Batch", "CsvScanner", "csv_structure"]


cdef class Batch:
    """Rows as spans over the data they were scanned from, which stays alive (and locked) until the next scan or clear.

    Whoever reads or fills one without the GIL holds it with ``use`` (any number of readers) or ``own`` (one writer), so
    that a Batch shared by mistake between threads ends in an exception and never in freed memory.
    """
    cdef mg_batch b
    cdef Py_buffer view
    cdef bint has_view
    cdef int users  # readers without the GIL, or -1: a writer
    cdef uint8_t quote

    def __cinit__(self):
        mg_batch_init(&self.b)
        self.quote = 34

    def __dealloc__(self):
        mg_batch_free(&self.b)
        if self.has_view:
            PyBuffer_Release(&self.view)

    cdef int use(self) except -1:
        if self.users < 0:
            raise RuntimeError("this Batch is being filled by another thread")
        self.users += 1
        return 0

    cdef void unuse(self) noexcept:
        self.users -= 1

    cdef int own(self) except -1:
        if self.users != 0:
            raise RuntimeError("this Batch is in use by another thread")
        self.users = -1
        return 0

    cdef void disown(self) noexcept:
        self.users = 0

    cdef void drop(self) noexcept:
        """Forgets the rows and lets go of the data. Own it first."""
        self.b.n_rows = self.b.n_fields = 0
        self.b.base = NULL
        if self.has_view:
            self.has_view = False
            PyBuffer_Release(&self.view)

    cdef mg_row *at(self, Py_ssize_t i) except NULL:
        if self.users < 0:
            raise RuntimeError("this Batch is being filled by another thread")
        if i < 0 or i >= self.b.n_rows:
            raise IndexError(f"row {i} of {self.b.n_rows}")
        return &self.b.rows[i]

    def __len__(self):
        return 0 if self.users < 0 else self.b.n_rows

    def clear(self):
        """Forgets the rows and lets go of the data."""
        self.own()
        self.drop()
        self.disown()

    def row(self, Py_ssize_t i):
        """The fields of row i, unescaped. A row with an error has none."""
        cdef mg_row *row = self.at(i)
        cdef mg_field *f
        cdef uint32_t k
        cdef size_t n
        cdef bytes value
        cdef list out = []
        for k in range(row.count):
            f = &self.b.fields[row.field + k]
            n = f.len & MG_FIELD_LEN
            if f.len & MG_FIELD_ESCAPED:
                value = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>n)
                n = mg_field_unescape(self.b.base + f.off, n, self.quote, <uint8_t *>PyBytes_AS_STRING(value))
                out.append(value[:n])
            else:
                out.append(PyBytes_FromStringAndSize(<const char *>self.b.base + f.off, <Py_ssize_t>n))
        return out

    def line(self, Py_ssize_t i):
        """The physical line, counted from 1, on which row i begins (for an unclosed quote: on which that opened)."""
        return self.at(i).line

    def raw(self, Py_ssize_t i):
        """The record as it stood in the data, without its line end."""
        cdef mg_row *row = self.at(i)
        return PyBytes_FromStringAndSize(<const char *>self.b.base + row.off, <Py_ssize_t>row.len)

    def error(self, Py_ssize_t i):
        """(index into REASONS, column counted from 0) of row i; (0, 0) if it could be read."""
        cdef mg_row *row = self.at(i)
        return row.error, row.column


cdef int one_byte(object value, str name, bint optional) except -1:
    cdef bytes b = bytes(value)
    if optional and len(b) == 0:
        return 0
    if len(b) != 1 or b in b"\0\r\n":
        raise ValueError(f"{name} must be one byte other than NUL, CR and LF, not {b!r}")
    return b[0]


cdef int fill_dialect(mg_csv_dialect *d, object delimiter, object quote) except -1:
    d.delimiter = one_byte(delimiter, "delimiter", False)
    d.quote = one_byte(quote, "quote", True)
    if d.delimiter == d.quote or d.delimiter > 127 or d.quote > 127 or d.quote == 32 or d.quote == 9:
        raise ValueError(f"delimiter {delimiter!r} and quote {quote!r} must be two different ASCII bytes, and quote no space")
    return 0


cdef class CsvScanner:
    """Reads delimited text block by block into Batches. ``line`` is the physical line the next record begins on.

    ``quote=b""`` reads quotes as ordinary bytes. Limits are bytes; each must be 1 to 2**30 - 8 (columns: 2**30 - 8).
    ``line``: the number of the first line, where something before it was read by other means.
    """
    cdef mg_csv s

    def __init__(self, *, delimiter=b",", quote=b'"', bint trim=True, max_field=1 << 20, max_row=16 << 20,
                 max_columns=4096, uint64_t line=1):
        cdef mg_csv_dialect d
        memset(&d, 0, sizeof(d))
        fill_dialect(&d, delimiter, quote)
        for name, value in (("max_field", max_field), ("max_row", max_row), ("max_columns", max_columns)):
            if not 1 <= value <= (1 << 30) - 8:
                raise ValueError(f"{name} must be 1 to {(1 << 30) - 8}, not {value}")
        d.trim = trim
        d.max_field = max_field
        d.max_row = max_row
        d.max_columns = max_columns
        mg_csv_init(&self.s, &d)
        self.s.line = line

    @property
    def line(self):
        return self.s.line

    def scan(self, Batch batch not None, data, Py_ssize_t start, Py_ssize_t end, bint eof, uint32_t max_rows=65536):
        """Reads whole records of data[start:end] into batch, which keeps hold of data. Returns the bytes consumed.

        Give the rest again, followed by more; ``eof`` says that the input ends at ``end``. Nothing consumed and no rows
        means that a record needs a larger buffer: double it. One scan at a time on one scanner.
        """
        cdef mg_status status
        cdef size_t used = 0
        cdef const uint8_t *p
        cdef mg_csv s
        batch.own()
        try:
            batch.drop()
            PyObject_GetBuffer(data, &batch.view, PyBUF_SIMPLE)
            batch.has_view = True
            if not 0 <= start <= end <= batch.view.len:
                raise ValueError(f"[{start}:{end}] is outside of data of {batch.view.len} bytes")
            p = <const uint8_t *>batch.view.buf + start
            batch.quote = self.s.dialect.quote
            s = self.s  # two scans at once on one scanner would repeat records, but touch no freed memory
            with nogil:
                status = mg_csv_scan(&s, p, <size_t>(end - start), eof, max_rows, &batch.b, &used)
            check(status)
            self.s = s
        finally:
            batch.disown()
        return used


def csv_structure(data, delimiter=b",", quote=b'"'):
    """(records, fields, strict, open) of data: strict if all quotes open and close at field boundaries as RFC 4180 says
    (if not, the counts mean little), open if a quote is open at the end. Empty lines are no records."""
    cdef Py_buffer view
    cdef mg_csv_dialect d
    cdef mg_csv_shape shape
    memset(&d, 0, sizeof(d))
    fill_dialect(&d, delimiter, quote)
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    with nogil:
        mg_csv_structure(&d, <const uint8_t *>view.buf, <size_t>view.len, &shape)
    PyBuffer_Release(&view)
    return shape.records, shape.fields, bool(shape.strict), bool(shape.open)
