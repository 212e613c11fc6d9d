# One Arrow column of text, read where it lies: the C data interface through PyCapsules, no Arrow library needed.
# Supported: utf8, large_utf8, utf8 view, the same as binary, null, and any of them dictionary-encoded.
# The column is kept (not copied) until the AddressColumn goes; Arrow data never changes.
from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.stdint cimport int8_t
from libc.stdlib cimport free, malloc, realloc

cdef extern from *:
    """
    #ifndef ARROW_C_DATA_INTERFACE
    #define ARROW_C_DATA_INTERFACE
    #define ARROW_FLAG_DICTIONARY_ORDERED 1
    #define ARROW_FLAG_NULLABLE 2
    #define ARROW_FLAG_MAP_KEYS_SORTED 4
    struct ArrowSchema {
        const char *format, *name, *metadata;
        int64_t flags, n_children;
        struct ArrowSchema **children, *dictionary;
        void (*release)(struct ArrowSchema *);
        void *private_data;
    };
    struct ArrowArray {
        int64_t length, null_count, offset, n_buffers, n_children;
        const void **buffers;
        struct ArrowArray **children, *dictionary;
        void (*release)(struct ArrowArray *);
        void *private_data;
    };
    #endif
    #ifndef ARROW_C_STREAM_INTERFACE
    #define ARROW_C_STREAM_INTERFACE
    struct ArrowArrayStream {
        int (*get_schema)(struct ArrowArrayStream *, struct ArrowSchema *out);
        int (*get_next)(struct ArrowArrayStream *, struct ArrowArray *out);
        const char *(*get_last_error)(struct ArrowArrayStream *);
        void (*release)(struct ArrowArrayStream *);
        void *private_data;
    };
    #endif
    """
    void __builtin_prefetch(const void *p) nogil
    ctypedef struct TextSchema "struct ArrowSchema":
        const char *format
        TextSchema *dictionary
        void (*release)(TextSchema *) noexcept
    ctypedef struct TextArray "struct ArrowArray":
        int64_t length
        int64_t null_count
        int64_t offset
        int64_t n_buffers
        const void **buffers
        TextArray *dictionary
        void (*release)(TextArray *) noexcept
    ctypedef struct TextStream "struct ArrowArrayStream":
        int (*get_schema)(TextStream *, TextSchema *out) noexcept
        int (*get_next)(TextStream *, TextArray *out) noexcept
        const char *(*get_last_error)(TextStream *) noexcept
        void (*release)(TextStream *) noexcept

__all__ += ["AddressColumn"]

cdef enum:
    TEXT_NONE, TEXT_32, TEXT_64, TEXT_VIEW, TEXT_NULL

_DAMAGED = "an Arrow array is damaged: its texts do not lie inside its buffers"

cdef struct TextSpan:
    const uint8_t *p
    int64_t n  # -1: null, -2: not inside its buffer


cdef int _text_kind(const char *format) except -1:
    cdef bytes name = format
    if name in (b"u", b"z"):
        return TEXT_32
    if name in (b"U", b"Z"):
        return TEXT_64
    if name in (b"vu", b"vz"):
        return TEXT_VIEW
    if name == b"n":
        return TEXT_NULL
    if name == b"+s":
        raise TypeError("an Arrow table was given; pass the one column that holds the addresses")
    raise TypeError(f"an Arrow column of text was expected, not one of format {name.decode('ascii', 'replace')!r}")


cdef bint _text_valid(const TextArray *a, int64_t i) noexcept nogil:
    """i counts from the array's own offset."""
    cdef const uint8_t *bits
    if a.null_count == 0 or a.n_buffers < 1 or a.buffers[0] == NULL:
        return True
    bits = <const uint8_t *>a.buffers[0]
    return bits[(a.offset + i) >> 3] >> ((a.offset + i) & 7) & 1


cdef int64_t _text_index(const TextArray *a, char width, int64_t i) noexcept nogil:
    i += a.offset
    if width == c"c":
        return (<const int8_t *>a.buffers[1])[i]
    if width == c"C":
        return (<const uint8_t *>a.buffers[1])[i]
    if width == c"s":
        return (<const int16_t *>a.buffers[1])[i]
    if width == c"S":
        return (<const uint16_t *>a.buffers[1])[i]
    if width == c"i":
        return (<const int32_t *>a.buffers[1])[i]
    if width == c"I":
        return (<const uint32_t *>a.buffers[1])[i]
    return (<const int64_t *>a.buffers[1])[i]


cdef TextSpan _text_span(const TextArray *a, int kind, int64_t i) noexcept nogil:
    cdef TextSpan span
    cdef int32_t start
    cdef uint32_t length = 0
    span.p = NULL
    span.n = -1
    if kind == TEXT_NULL or not _text_valid(a, i):
        return span
    i += a.offset
    if kind == TEXT_32:
        start = (<const int32_t *>a.buffers[1])[i]
        span.n = (<const int32_t *>a.buffers[1])[i + 1] - start
        span.p = <const uint8_t *>a.buffers[2] + start
    elif kind == TEXT_64:
        span.n = (<const int64_t *>a.buffers[1])[i + 1] - (<const int64_t *>a.buffers[1])[i]
        span.p = <const uint8_t *>a.buffers[2] + (<const int64_t *>a.buffers[1])[i]
    else:
        span.p = mg_string_view_text(<const uint8_t *>a.buffers[1] + 16 * i, <const uint8_t **>a.buffers + 2,
                                      <const int64_t *>a.buffers[a.n_buffers - 1], a.n_buffers - 3, &length)
        span.n = length if span.p != NULL else -2
    return span


cdef bint _text_sound(const TextArray *a, int kind) noexcept nogil:
    """Do all texts lie inside their buffers? Arrow files that were damaged, or made by hand, come through unchecked.

    Views are looked at when they are followed, so that they are read once.
    """
    cdef const int32_t *off
    cdef const int64_t *off64
    cdef int64_t i
    cdef bint good = True
    if a.length < 0 or a.offset < 0:
        return False
    if kind == TEXT_NULL or a.length == 0:
        return True
    if a.n_buffers < 3 or a.buffers[1] == NULL:
        return False
    if kind == TEXT_32:
        off = <const int32_t *>a.buffers[1] + a.offset
        good = off[0] >= 0
        for i in range(a.length):
            good &= off[i] <= off[i + 1]
        return good and (off[a.length] == 0 or a.buffers[2] != NULL)
    if kind == TEXT_64:
        off64 = <const int64_t *>a.buffers[1] + a.offset
        good = off64[0] >= 0
        for i in range(a.length):
            good &= off64[i] <= off64[i + 1]
        return good and (off64[a.length] == 0 or a.buffers[2] != NULL)
    return True


cdef mg_status _text_check(const TextArray *a, int kind, uint32_t options, uint8_t *out) noexcept nogil:
    """Reason numbers of a plain (not dictionary-encoded) array. MG_CORRUPT: a view does not lie inside its buffer."""
    cdef const uint8_t *data
    cdef int64_t n = a.length, i
    if n == 0:
        return MG_OK
    if kind == TEXT_NULL:
        memset(out, MG_R_email_empty, n)
        return MG_OK
    if kind == TEXT_VIEW:
        return mg_address_string_views(
            <const uint8_t *>a.buffers[1] + 16 * a.offset, <const uint8_t **>a.buffers + 2,
            <const int64_t *>a.buffers[a.n_buffers - 1], a.n_buffers - 3,
            NULL if a.null_count == 0 else <const uint8_t *>a.buffers[0], a.offset, n, options, out)
    data = <const uint8_t *>a.buffers[2]
    if data == NULL:  # nothing but empty strings
        memset(out, MG_R_email_empty, n)
        return MG_OK
    if kind == TEXT_32:
        mg_address_many32(data, <const int32_t *>a.buffers[1] + a.offset, n, options, out, NULL)
    else:
        mg_address_many(data, <const int64_t *>a.buffers[1] + a.offset, n, options, out, NULL)
    if a.null_count != 0 and a.buffers[0] != NULL:
        for i in range(n):
            if not _text_valid(a, i):
                out[i] = MG_R_email_empty
    return MG_OK


cdef class AddressColumn:
    """A column of text given by anything with ``__arrow_c_array__`` or ``__arrow_c_stream__``."""
    cdef TextArray *arrays
    cdef int64_t *starts  # row number at which each array begins; one more: the number of rows
    cdef Py_ssize_t count
    cdef int kind
    cdef char index  # format of dictionary indices, 0 if there is no dictionary

    def __init__(self, column):
        if self.starts != NULL:
            raise RuntimeError("AddressColumn.__init__ ran twice")
        self.starts = <int64_t *>malloc(sizeof(int64_t))
        if self.starts == NULL:
            raise MemoryError
        self.starts[0] = 0
        if hasattr(column, "__arrow_c_stream__"):
            self._read_stream(column.__arrow_c_stream__())
        else:
            schema, array = column.__arrow_c_array__()
            self._set_schema(<TextSchema *>PyCapsule_GetPointer(schema, "arrow_schema"))
            self._take(<TextArray *>PyCapsule_GetPointer(array, "arrow_array"))

    def __dealloc__(self):
        cdef Py_ssize_t i
        for i in range(self.count):
            if self.arrays[i].release != NULL:
                self.arrays[i].release(&self.arrays[i])
        free(self.arrays)
        free(self.starts)

    cdef _set_schema(self, TextSchema *schema):
        cdef bytes name = schema.format
        if schema.dictionary != NULL:
            if name not in (b"c", b"C", b"s", b"S", b"i", b"I", b"l", b"L"):
                raise TypeError(f"dictionary indices of format {name!r} are not integers")
            self.index = name[0]
            self.kind = _text_kind(schema.dictionary.format)
        else:
            self.kind = _text_kind(schema.format)

    cdef _take(self, TextArray *array):
        """Moves an array here; the giver's struct is then released, as the interface wants it."""
        cdef TextArray *arrays = <TextArray *>realloc(self.arrays, (self.count + 1) * sizeof(TextArray))
        cdef int64_t *starts
        cdef bint good
        if arrays == NULL:
            raise MemoryError
        self.arrays = arrays
        starts = <int64_t *>realloc(self.starts, (self.count + 2) * sizeof(int64_t))
        if starts == NULL:
            raise MemoryError
        self.starts = starts
        if self.index and array.dictionary == NULL:
            raise ValueError("an Arrow array lacks the dictionary that its schema declares")
        with nogil:
            good = array.length >= 0 and array.offset >= 0 and _text_sound(
                array.dictionary if self.index else array, self.kind)
            if self.index and array.length and (array.n_buffers < 2 or array.buffers[1] == NULL):
                good = False
        if not good:
            raise ValueError(_DAMAGED)
        arrays[self.count] = array[0]
        array.release = NULL
        starts[self.count + 1] = starts[self.count] + array.length
        self.count += 1

    cdef _read_stream(self, capsule):
        cdef TextStream *stream = <TextStream *>PyCapsule_GetPointer(capsule, "arrow_array_stream")
        cdef TextSchema schema
        cdef TextArray array
        cdef int error = stream.get_schema(stream, &schema)
        if error:
            self._stream_failed(stream, error)
        try:
            self._set_schema(&schema)
        finally:
            schema.release(&schema)
        while True:
            error = stream.get_next(stream, &array)
            if error:
                self._stream_failed(stream, error)
            if array.release == NULL:
                break
            try:
                self._take(&array)
            finally:
                if array.release != NULL:
                    array.release(&array)

    cdef _stream_failed(self, TextStream *stream, int error):
        cdef const char *text = stream.get_last_error(stream)
        raise OSError(error, "reading an Arrow stream: " + (text.decode("utf-8", "replace") if text else "failed"))

    def __len__(self):
        return self.starts[self.count]

    cdef TextSpan _span(self, int64_t row) except *:
        cdef Py_ssize_t lo = 0, hi = self.count, mid
        cdef TextArray *array
        cdef TextSpan span
        span.p = NULL
        span.n = -1
        while hi - lo > 1:
            mid = (lo + hi) // 2
            if self.starts[mid] <= row:
                lo = mid
            else:
                hi = mid
        array = &self.arrays[lo]
        row -= self.starts[lo]
        if self.index:
            if not _text_valid(array, row):
                return span
            row = _text_index(array, self.index, row)
            array = array.dictionary
            if row < 0 or row >= array.length:
                raise IndexError("an Arrow index points outside its dictionary")
        span = _text_span(array, self.kind, row)
        if span.n == -2:
            raise ValueError(_DAMAGED)
        return span

    def __getitem__(self, int64_t row):
        """bytes, or None for null."""
        cdef TextSpan span
        if row < 0 or row >= self.starts[self.count]:
            raise IndexError(f"row {row} of {self.starts[self.count]}")
        span = self._span(row)
        return None if span.n < 0 else PyBytes_FromStringAndSize(<const char *>span.p, span.n)

    def open(self, dict known not None, uint32_t options, reasons):
        """address_list_open for a column."""
        cdef Py_buffer view
        cdef int64_t n = self.starts[self.count], i = -1
        cdef uint8_t *out = _address_out(reasons, &view, n)
        cdef int64_t rows[32]
        cdef TextSpan spans[32]
        cdef int k, m = 32
        rest = []
        try:
            while m == 32:
                m = 0
                while m < 32:
                    i = _next_open(out, i + 1, n)
                    if i == n:
                        break
                    rows[m] = i
                    m += 1
                for k in range(m):  # they lie far apart in memory, so they are asked for before they are needed
                    spans[k] = self._span(rows[k])
                    __builtin_prefetch(spans[k].p)
                    __builtin_prefetch(spans[k].p + spans[k].n)
                for k in range(m):
                    if _open_good(spans[k].p, spans[k].n, known, options):
                        out[rows[k]] = MG_R_ok
                    else:
                        rest.append(rows[k])
        finally:
            PyBuffer_Release(&view)
        return rest

    def check(self, uint32_t options, reasons):
        """Writes the reason number of each row to the uint8 buffer `reasons`."""
        cdef Py_buffer view
        cdef uint8_t *out = _address_out(reasons, &view, self.starts[self.count])
        cdef Py_ssize_t i
        cdef int error = 0
        try:
            with nogil:
                for i in range(self.count):
                    if self.index:
                        error = self._check_dictionary(&self.arrays[i], options, out + self.starts[i])
                    elif _text_check(&self.arrays[i], self.kind, options, out + self.starts[i]) != MG_OK:
                        error = 3
                    if error:
                        break
        finally:
            PyBuffer_Release(&view)
        if error == 1:
            raise MemoryError
        if error == 2:
            raise ValueError("an Arrow index points outside its dictionary")
        if error == 3:
            raise ValueError(_DAMAGED)

    cdef int _check_dictionary(self, const TextArray *a, uint32_t options, uint8_t *out) noexcept nogil:
        """0, or 1: no memory, 2: an index is wrong, 3: a view is."""
        cdef const TextArray *words = a.dictionary
        cdef uint8_t *verdicts = <uint8_t *>malloc(words.length + 1)
        cdef int64_t i, word
        cdef int error = 0
        if verdicts == NULL:
            return 1
        if _text_check(words, self.kind, options, verdicts) != MG_OK:
            free(verdicts)
            return 3
        for i in range(a.length):
            if not _text_valid(a, i):
                out[i] = MG_R_email_empty
                continue
            word = _text_index(a, self.index, i)
            if word < 0 or word >= words.length:
                error = 2
                break
            out[i] = verdicts[word]
        free(verdicts)
        return error
