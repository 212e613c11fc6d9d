# ArrowReader: any table behind the Arrow PyCapsule interface -> Batches, without an Arrow library (kernels/arrow.c).
from cpython.buffer cimport PyBuffer_FillInfo
from cpython.mem cimport PyMem_Free
from cpython.pycapsule cimport PyCapsule_GetPointer

cdef extern from "arrow.h" nogil:
    ctypedef struct ArrowSchema "struct ArrowSchema":
        const char *format
        const char *name
        int64_t n_children
        ArrowSchema **children
        ArrowSchema *dictionary
        void (*release)(ArrowSchema *) noexcept nogil
    ctypedef struct ArrowArray "struct ArrowArray":
        int64_t length
        int64_t null_count
        int64_t offset
        int64_t n_buffers
        int64_t n_children
        const void **buffers
        ArrowArray **children
        ArrowArray *dictionary
        void (*release)(ArrowArray *) noexcept nogil
    ctypedef struct ArrowStream "struct ArrowArrayStream":
        int (*get_schema)(ArrowStream *, ArrowSchema *) noexcept nogil
        int (*get_next)(ArrowStream *, ArrowArray *) noexcept nogil
        const char *(*get_last_error)(ArrowStream *) noexcept nogil
        void (*release)(ArrowStream *) noexcept nogil
    ctypedef enum mg_arrow_kind:
        MG_ARROW_NULL, MG_ARROW_BOOL, MG_ARROW_INT, MG_ARROW_UINT, MG_ARROW_TEXT, MG_ARROW_VIEW, MG_ARROW_DAY
        MG_ARROW_TIME, MG_ARROW_LIST, MG_ARROW_DICTIONARY
    ctypedef struct mg_arrow_column:
        mg_arrow_kind kind
        uint8_t width
        uint8_t negative
        uint8_t zoned
        int64_t unit
        int64_t offset
        int64_t length
        const uint8_t *valid
        const void *values
        const uint8_t *data
        int64_t data_len
        const uint8_t *const *blocks
        const int64_t *block_len
        int64_t n_blocks
        const mg_arrow_column *child
    ctypedef struct mg_arrow_table:
        const mg_arrow_column *columns
        uint32_t n_columns
        const uint8_t *valid
        uint32_t max_field
        uint32_t max_row
        size_t max_bytes
    mg_status mg_arrow_rows(const mg_arrow_table *table, int64_t first, int64_t count, uint64_t line, mg_buf *data,
                            mg_batch *batch, int64_t *made) noexcept

cdef extern from "Python.h":
    char *PyOS_double_to_string(double val, char format_code, int precision, int flags, int *type) except NULL
    double PyOS_string_to_double(const char *s, char **end, object overflow) except? -1.0
    double PyFloat_Unpack2(const char *p, int le) except? -1.0
    int PyFloat_Pack2(double x, char *p, int le) except -1

__all__ += ["ArrowReader"]

cdef enum:
    ARROW_ROWS = 65536        # rows of a Batch, at most
    ARROW_WINDOW = 8192       # rows whose floating-point numbers are turned into text at a time
    ARROW_BYTES = 1 << 25     # text of a Batch, at most, but for its last row
    ARROW_FIELD = 1 << 20     # bytes of a field and of a record: the same limits as for CSV
    ARROW_ROW = 16 << 20
    ARROW_MAX_COLUMNS = 4096

# format: (kind, width of a value or offset, unit)
_ARROW_TYPES = {
    b"n": (MG_ARROW_NULL, 0, 0), b"b": (MG_ARROW_BOOL, 0, 0),
    b"c": (MG_ARROW_INT, 1, 0), b"s": (MG_ARROW_INT, 2, 0), b"i": (MG_ARROW_INT, 4, 0), b"l": (MG_ARROW_INT, 8, 0),
    b"C": (MG_ARROW_UINT, 1, 0), b"S": (MG_ARROW_UINT, 2, 0), b"I": (MG_ARROW_UINT, 4, 0), b"L": (MG_ARROW_UINT, 8, 0),
    b"u": (MG_ARROW_TEXT, 4, 0), b"z": (MG_ARROW_TEXT, 4, 0), b"U": (MG_ARROW_TEXT, 8, 0), b"Z": (MG_ARROW_TEXT, 8, 0),
    b"vu": (MG_ARROW_VIEW, 0, 0), b"vz": (MG_ARROW_VIEW, 0, 0),
    b"tdD": (MG_ARROW_DAY, 4, 0), b"tdm": (MG_ARROW_DAY, 8, 0),
    b"tss": (MG_ARROW_TIME, 8, 1), b"tsm": (MG_ARROW_TIME, 8, 1000),
    b"tsu": (MG_ARROW_TIME, 8, 1000000), b"tsn": (MG_ARROW_TIME, 8, 1000000000),
    b"+l": (MG_ARROW_LIST, 4, 0), b"+L": (MG_ARROW_LIST, 8, 0),
}
_ARROW_FLOATS = {b"e": 2, b"f": 4, b"g": 8}
_ARROW_OTHERS = (
    (b"d:", "decimal"), (b"w:", "fixed-size binary"), (b"tt", "time of day"), (b"tD", "duration"), (b"ti", "interval"),
    (b"+l", "list"), (b"+L", "list"), (b"+w", "fixed-size list"), (b"+v", "list view"), (b"+s", "struct"),
    (b"+m", "map"), (b"+u", "union"), (b"+r", "run-end encoded"), (b"e", "float16"), (b"f", "float32"), (b"g", "float64"),
)


cdef object arrow_refuse(str name, bytes format, str within=""):
    kind = next((text for start, text in _ARROW_OTHERS if format.startswith(start)), "unknown")
    return TypeError(
        f"column {name!r} has the Arrow type {within}{kind} ({format.decode('ascii', 'replace')}), which cannot be read as a "
        "field of a lead: cast it to a string, integer, float, boolean, date, timestamp or list of strings first, for "
        f"example with pyarrow.compute.cast(column, 'string') or polars.col({name!r}).cast(polars.String)"
    )


cdef class _ArrowBlock:
    """The text of one Batch: what the Batch's view keeps alive."""
    cdef mg_buf data

    def __cinit__(self):
        mg_buf_init(&self.data)

    def __dealloc__(self):
        mg_buf_free(&self.data)

    def __getbuffer__(self, Py_buffer *view, int flags):
        PyBuffer_FillInfo(view, self, self.data.data, <Py_ssize_t>self.data.len, 1, flags)

    def __releasebuffer__(self, Py_buffer *view):
        pass


cdef int arrow_put_float(mg_buf *out, double v) except -1:
    cdef char *text
    cdef size_t n = 0
    if v != v:
        return 0  # NaN is how pandas and others write a missing number
    text = PyOS_double_to_string(v, b"r", 0, 0, NULL)
    try:
        while text[n]:
            n += 1
        check(mg_buf_put(out, text, n))
    finally:
        PyMem_Free(text)
    return 0


cdef double arrow_shortest(double v, int width, const char *bits) except? -1.0:
    """The number with the fewest digits that reads back as the same float of 2 or 4 bytes."""
    cdef int precision
    cdef char *text
    cdef char half[2]
    cdef double d = v
    if v != v or v - v != 0:
        return v
    for precision in range(1 if width == 2 else 5, 10):
        text = PyOS_double_to_string(v, b"g", precision, 0, NULL)
        try:
            d = PyOS_string_to_double(text, NULL, None)
        finally:
            PyMem_Free(text)
        if width == 4:
            if <float>d == <float>v:
                return d
        else:
            if -65504 <= d <= 65504:
                PyFloat_Pack2(d, half, 1)
                if half[0] == bits[0] and half[1] == bits[1]:
                    return d
    return v


cdef class ArrowReader:
    """Reads a table with ``__arrow_c_stream__`` or ``__arrow_c_array__`` (pyarrow, polars, pandas, duckdb, …).

    ``names`` are its columns. ``next`` fills a Batch with its next rows; their lines count from 1. Values become text as
    kernels/arrow.c says; a floating-point number is the shortest text that reads back the same, whole ones without ".0"
    (integer columns with gaps are often kept as floats), NaN is empty.
    """
    cdef ArrowStream stream
    cdef ArrowSchema schema
    cdef ArrowArray array
    cdef mg_arrow_column *columns   # the table's columns, then the dictionaries and lists below them
    cdef uint32_t n_columns, n_all, n_used
    cdef uint8_t *float_width       # for each of the table's columns: 0, or the bytes of its floats
    cdef mg_buf *float_text
    cdef mg_buf *float_offsets
    cdef int64_t pos
    cdef uint64_t line
    cdef size_t guess
    cdef bint busy, ended
    cdef readonly list names

    def __init__(self, table):
        cdef ArrowSchema *schema
        cdef ArrowArray *array
        cdef ArrowStream *stream
        if self.names is not None:
            raise RuntimeError("an ArrowReader is made once")
        self.names = []
        if hasattr(table, "__arrow_c_stream__"):
            capsule = table.__arrow_c_stream__()
            stream = <ArrowStream *>PyCapsule_GetPointer(capsule, b"arrow_array_stream")
            if stream.release == NULL:
                raise ValueError("this Arrow stream was read before")
            self.stream = stream[0]
            stream.release = NULL
            self.fail_on(self.stream.get_schema(&self.stream, &self.schema))
        elif hasattr(table, "__arrow_c_array__"):
            capsule, other = table.__arrow_c_array__()
            schema = <ArrowSchema *>PyCapsule_GetPointer(capsule, b"arrow_schema")
            array = <ArrowArray *>PyCapsule_GetPointer(other, b"arrow_array")
            if schema.release == NULL or array.release == NULL:
                raise ValueError("this Arrow array was read before")
            self.schema = schema[0]
            schema.release = NULL
            self.array = array[0]
            array.release = NULL
        else:
            raise TypeError(f"{type(table).__name__} has neither __arrow_c_stream__ nor __arrow_c_array__")
        if self.schema.release == NULL or (<bytes>self.schema.format) != b"+s":
            raise TypeError(
                f"{type(table).__name__} is a single Arrow column, not a table: put it into one, such as "
                "pyarrow.table({'email': column}) or polars.DataFrame({'email': column})"
            )
        if self.schema.n_children > ARROW_MAX_COLUMNS:
            raise TypeError(f"the Arrow table has {self.schema.n_children} columns, more than {ARROW_MAX_COLUMNS}")
        self.read_schema()
        if self.array.release != NULL:
            self.bind_array()

    def __dealloc__(self):
        cdef uint32_t i
        if self.array.release != NULL:
            self.array.release(&self.array)
        if self.schema.release != NULL:
            self.schema.release(&self.schema)
        if self.stream.release != NULL:
            self.stream.release(&self.stream)
        if self.float_text != NULL:
            for i in range(self.n_columns):
                mg_buf_free(&self.float_text[i])
                mg_buf_free(&self.float_offsets[i])
        mg_free(self.float_text)
        mg_free(self.float_offsets)
        mg_free(self.float_width)
        mg_free(self.columns)

    cdef int fail_on(self, int error) except -1:
        cdef const char *text
        if error == 0:
            return 0
        text = self.stream.get_last_error(&self.stream)
        message = (<bytes>text).decode("utf-8", "replace") if text != NULL else "no reason given"
        raise OSError(error, f"the Arrow stream failed: {message}")

    # ---- types ----

    cdef int read_schema(self) except -1:
        cdef uint32_t i
        self.n_columns = <uint32_t>self.schema.n_children
        self.n_all = 3 * self.n_columns + 1  # a list of dictionary-encoded text is the deepest that is read
        self.columns = <mg_arrow_column *>mg_alloc(self.n_all * sizeof(mg_arrow_column))
        self.float_width = <uint8_t *>mg_alloc(self.n_columns)
        self.float_text = <mg_buf *>mg_alloc(self.n_columns * sizeof(mg_buf))
        self.float_offsets = <mg_buf *>mg_alloc(self.n_columns * sizeof(mg_buf))
        if self.float_text != NULL:
            memset(self.float_text, 0, self.n_columns * sizeof(mg_buf))
        if self.float_offsets == NULL:
            mg_free(self.float_text)
            self.float_text = NULL
        if self.columns == NULL or self.float_width == NULL or self.float_text == NULL:
            raise MemoryError()
        memset(self.float_offsets, 0, self.n_columns * sizeof(mg_buf))
        memset(self.columns, 0, self.n_all * sizeof(mg_arrow_column))
        memset(self.float_width, 0, self.n_columns)
        self.n_used = self.n_columns
        for i in range(self.n_columns):
            raw = <bytes>self.schema.children[i].name if self.schema.children[i].name != NULL else b""
            self.names.append(raw.decode("utf-8", "replace"))
        for i in range(self.n_columns):
            self.read_type(&self.columns[i], self.schema.children[i], self.names[i], <int>i)
        return 0

    cdef int read_type(self, mg_arrow_column *c, ArrowSchema *schema, str name, int top) except -1:
        cdef bytes format = schema.format
        cdef int depth = 0
        found = _ARROW_TYPES.get(format[:3] if format.startswith(b"ts") else format)
        if schema.dictionary != NULL:
            if found is None or found[0] not in (MG_ARROW_INT, MG_ARROW_UINT):
                raise arrow_refuse(name, format, "dictionary of ")
            c.kind = MG_ARROW_DICTIONARY
            c.width = found[1]
            c.negative = found[0] == MG_ARROW_INT
            self.read_child(c, schema.dictionary, name, "dictionary of ")
            return 0
        if top >= 0 and format in _ARROW_FLOATS:
            self.float_width[top] = _ARROW_FLOATS[format]
            c.kind = MG_ARROW_TEXT
            c.width = 8
            return 0
        if found is None:
            raise arrow_refuse(name, format)
        c.kind, c.width, c.unit = found
        c.zoned = c.kind == MG_ARROW_TIME and len(format) > 4
        if c.kind == MG_ARROW_LIST:
            if schema.n_children != 1:
                raise arrow_refuse(name, format)
            self.read_child(c, schema.children[0], name, "list of ")
        return 0

    cdef int read_child(self, mg_arrow_column *c, ArrowSchema *schema, str name, str within) except -1:
        cdef bytes format = schema.format
        cdef mg_arrow_column *child
        # Inside a list: no list again, and no floats, whose text is made row by row; a dictionary holds neither.
        if (format in _ARROW_FLOATS or format.startswith(b"+") or
                (schema.dictionary != NULL and c.kind != MG_ARROW_LIST) or self.n_used == self.n_all):
            raise arrow_refuse(name, format, within)
        child = &self.columns[self.n_used]
        self.n_used += 1
        c.child = child
        self.read_type(child, schema, name, -1)
        return 0

    # ---- arrays ----

    cdef int bind_array(self) except -1:
        cdef uint32_t i
        if self.array.n_children != self.n_columns or self.array.length < 0 or self.array.offset < 0:
            raise ValueError("the Arrow data is damaged: an array does not have the columns of its schema")
        for i in range(self.n_columns):
            if self.float_width[i]:
                self.bind_buffers(&self.columns[i], self.array.children[i], 2)
            else:
                self.bind(&self.columns[i], self.array.children[i])
        self.pos = 0
        return 0

    cdef int bind_buffers(self, mg_arrow_column *c, ArrowArray *a, int64_t wanted) except -1:
        if a == NULL or a.release == NULL or a.length < 0 or a.offset < 0 or a.n_buffers < wanted:
            raise ValueError("the Arrow data is damaged: a column lacks buffers of its type")
        c.length = a.length
        c.offset = a.offset
        c.valid = c.data = NULL
        c.values = NULL
        if wanted == 0:
            return 0
        c.values = a.buffers[1]
        if a.null_count != 0:
            c.valid = <const uint8_t *>a.buffers[0]
        if c.values == NULL and a.length > 0:
            raise ValueError("the Arrow data is damaged: a column has no buffer for its values")
        return 0

    cdef int bind(self, mg_arrow_column *c, ArrowArray *a) except -1:
        if c.kind == MG_ARROW_NULL:
            self.bind_buffers(c, a, 0)
        elif c.kind == MG_ARROW_VIEW:
            self.bind_buffers(c, a, 3)
            c.n_blocks = a.n_buffers - 3
            c.blocks = <const uint8_t *const *>(a.buffers + 2)
            c.block_len = <const int64_t *>a.buffers[a.n_buffers - 1]
            if c.block_len == NULL:
                c.n_blocks = 0
        elif c.kind == MG_ARROW_TEXT:
            self.bind_buffers(c, a, 3)
            c.data = <const uint8_t *>a.buffers[2] if a.buffers[2] != NULL else <const uint8_t *>b""
            c.data_len = 0
            if a.length > 0:
                c.data_len = ((<const int32_t *>c.values)[a.offset + a.length] if c.width == 4
                              else (<const int64_t *>c.values)[a.offset + a.length])
        else:
            self.bind_buffers(c, a, 2)
            if c.kind == MG_ARROW_DICTIONARY:
                self.bind(<mg_arrow_column *>c.child, a.dictionary)
            elif c.kind == MG_ARROW_LIST:
                if a.n_children != 1:
                    raise ValueError("the Arrow data is damaged: a list has no child")
                self.bind(<mg_arrow_column *>c.child, a.children[0])
        return 0

    cdef bint advance(self) except -1:
        """The next array of the stream, if there is one."""
        cdef int error
        if self.array.release != NULL:
            self.array.release(&self.array)
            self.array.release = NULL
        if self.ended or self.stream.release == NULL:
            return False
        with nogil:  # the producer may need the GIL, in this thread or another
            error = self.stream.get_next(&self.stream, &self.array)
        if error != 0:
            self.ended = True
            self.array.release = NULL
        self.fail_on(error)
        if self.array.release == NULL:
            self.ended = True
            return False
        self.bind_array()
        return True

    cdef int make_floats(self, uint32_t which, int64_t first, int64_t count) except -1:
        """Rows first.. of a column of floats as a column of text that begins there."""
        cdef mg_arrow_column *c = &self.columns[which]
        cdef ArrowArray *a = self.array.children[which]
        cdef const uint8_t *valid = <const uint8_t *>a.buffers[0] if a.null_count != 0 else NULL
        cdef const char *values = <const char *>a.buffers[1]
        cdef int width = self.float_width[which]
        cdef mg_buf *text = &self.float_text[which]
        cdef mg_buf *offsets = &self.float_offsets[which]
        cdef int64_t i, at
        cdef float single
        cdef double v
        if first + count > a.length:
            raise ValueError("the Arrow data is damaged: a column is shorter than its table")
        text.len = offsets.len = 0
        check(mg_buf_reserve(text, 1))
        check(mg_buf_reserve(offsets, <size_t>(count + 1) * 8))
        for i in range(count + 1):
            (<int64_t *>offsets.data)[i] = <int64_t>text.len
            if i == count:
                break
            at = a.offset + first + i
            if valid != NULL and not valid[at >> 3] >> (at & 7) & 1:
                continue
            if width == 8:
                memcpy(&v, values + 8 * at, 8)
            elif width == 4:
                memcpy(&single, values + 4 * at, 4)
                v = arrow_shortest(single, 4, NULL)
            else:
                v = arrow_shortest(PyFloat_Unpack2(values + 2 * at, 1), 2, values + 2 * at)
            arrow_put_float(text, v)
        c.valid = NULL
        c.values = offsets.data
        c.data = text.data
        c.data_len = <int64_t>text.len
        c.offset = -first
        c.length = first + count
        return 0

    cdef int fill(self, Batch batch, _ArrowBlock block) except -1:
        cdef mg_arrow_table table
        cdef mg_status status
        cdef int64_t first, count, made = 0
        cdef uint32_t i
        memset(&table, 0, sizeof(table))
        table.columns = self.columns
        table.n_columns = self.n_columns
        table.max_field = ARROW_FIELD
        table.max_row = ARROW_ROW
        table.max_bytes = ARROW_BYTES
        check(mg_buf_reserve(&block.data, self.guess))
        while batch.b.n_rows < ARROW_ROWS and block.data.len < ARROW_BYTES:
            if self.array.release == NULL or self.pos >= self.array.length:
                if not self.advance():
                    break
                continue
            count = min(ARROW_WINDOW, ARROW_ROWS - <int64_t>batch.b.n_rows, self.array.length - self.pos)
            first = self.array.offset + self.pos
            for i in range(self.n_columns):
                if self.float_width[i]:
                    self.make_floats(i, first, count)
            table.valid = <const uint8_t *>self.array.buffers[0] if (
                self.array.null_count != 0 and self.array.n_buffers > 0) else NULL
            with nogil:
                status = mg_arrow_rows(&table, first, count, self.line, &block.data, &batch.b, &made)
            if status == MG_CORRUPT:
                raise ValueError("the Arrow data is damaged: offsets or indices point outside of their column")
            check(status)
            self.pos += made
            self.line += <uint64_t>made
        self.guess = min(block.data.len + block.data.len // 8, <size_t>ARROW_BYTES) + 256
        return 0

    def next(self, Batch batch not None):
        """Fills the batch with the next rows, 65,536 or about 32 MiB of text at most; False if there are none left."""
        cdef _ArrowBlock block = _ArrowBlock()
        if self.busy:
            raise RuntimeError("this ArrowReader is in use by another thread")
        if self.columns == NULL:
            raise RuntimeError("the ArrowReader was not made")
        batch.own()
        self.busy = True
        if self.line == 0:
            self.line = 1
        try:
            batch.drop()
            self.fill(batch, block)
            if batch.b.n_rows == 0:
                return False
            PyObject_GetBuffer(block, &batch.view, PyBUF_SIMPLE)
            batch.has_view = True
            batch.b.base = block.data.data
            batch.quote = 34
            return True
        except:
            batch.drop()
            raise
        finally:
            self.busy = False
            batch.disown()
