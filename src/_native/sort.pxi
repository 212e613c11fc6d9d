# Sorted, Merge, Chunk: records -> sorted blocks -> distinct keys in order -> PostgreSQL's bytes (kernels/sort.c, merge.c,
# pgcopy.c). Every object has a lock of its own, held while its kernel runs without the GIL.
cdef extern from "mg.h" nogil:
    ctypedef struct mg_sort_item:
        uint32_t off
    mg_status mg_sort_count(const uint8_t *p, size_t n, size_t *count) noexcept
    mg_status mg_sort_records(const uint8_t *p, size_t n, size_t count, mg_sort_item *items,
                              mg_sort_item *scratch) noexcept
    mg_status mg_sort_write(const uint8_t *p, size_t n, const mg_sort_item *items, size_t count, size_t *next,
                            uint8_t *out, size_t cap, size_t *made) noexcept
    mg_status mg_sort_key(const uint8_t *p, size_t n, const uint8_t **key, size_t *key_len) noexcept

    ctypedef struct mg_merge_input:
        const uint8_t *p
        size_t len
        size_t pos
        int eof
    ctypedef struct mg_duplicate:
        uint64_t line
        uint32_t off
    ctypedef struct mg_merge:
        pass
    ctypedef struct mg_chunk:
        mg_buf data
        uint32_t *off
        size_t n
        mg_duplicate *dups
        size_t n_dups
    mg_merge *mg_merge_new(size_t inputs) noexcept
    void mg_merge_free(mg_merge *m) noexcept
    mg_merge_input *mg_merge_inputs(mg_merge *m) noexcept
    mg_status mg_merge_bounds(mg_merge *m, const uint8_t *lo, size_t lo_len, const uint8_t *hi, size_t hi_len) noexcept
    void mg_chunk_init(mg_chunk *c) noexcept
    void mg_chunk_clear(mg_chunk *c) noexcept
    void mg_chunk_free(mg_chunk *c) noexcept
    mg_status mg_merge_next(mg_merge *m, size_t max_records, size_t max_bytes, mg_chunk *out, size_t *which) noexcept

    mg_status mg_pg_mark(const mg_chunk *c, const uint8_t *p, size_t n, uint8_t value, uint8_t *mask) noexcept
    mg_status mg_pg_keys(const mg_chunk *c, const uint8_t *mask, uint8_t want, mg_buf *out) noexcept
    mg_status mg_pg_copy(const mg_chunk *c, const uint8_t *mask, uint8_t want, uint32_t fields, const uint8_t *head,
                         size_t head_len, uint16_t head_fields, const uint8_t *defaults, const uint32_t *default_off,
                         size_t max_bytes, size_t *next, mg_buf *out) noexcept
    enum:
        MG_LEAD_FIELD_COUNT "MG_LEAD_FIELDS"
        MG_RECORD_HEAD_BYTES "MG_RECORD_HEAD"

cdef extern from *:
    """
    /* A bytes object that is filled without the GIL and shortened before anybody sees it. */
    static PyObject *mg_bytes_new(Py_ssize_t n, uint8_t **p) {
        PyObject *o = PyBytes_FromStringAndSize(NULL, n);
        if (o) *p = (uint8_t *)PyBytes_AS_STRING(o);
        return o;
    }
    static PyObject *mg_bytes_end(PyObject *o, Py_ssize_t n) { /* takes over the reference */
        return _PyBytes_Resize(&o, n) < 0 ? NULL : o;
    }
    """
    ctypedef struct PyObject:
        pass
    PyObject *mg_bytes_new(Py_ssize_t n, uint8_t **p) except NULL
    object mg_bytes_end(PyObject *o, Py_ssize_t n)
    void mg_bytes_drop "Py_DECREF"(PyObject *o)

__all__ += ["Chunk", "Merge", "Sorted", "block_key"]


cdef class Sorted:
    """The records of a ``Records`` (or of a bytes-like object) in the order of their e-mail, then of their line.

    The records must stay as they are until the last block has been taken.
    """
    cdef object source
    cdef Records records  # or a view of something else
    cdef Py_buffer view
    cdef bint viewed
    cdef const uint8_t *p
    cdef size_t n, count, next
    cdef mg_sort_item *items
    cdef cython.pymutex lock

    def __init__(self, records not None):
        cdef mg_sort_item *scratch
        cdef mg_status st = MG_OK
        with self.lock:
            if self.source is not None or self.next:
                raise RuntimeError("Sorted was made already")
            if isinstance(records, Records):
                self.records = records
            else:
                PyObject_GetBuffer(records, &self.view, PyBUF_SIMPLE)
                self.viewed = True
            self.source = records
            self.look()
            if self.n > 0xffffffff:
                raise ValueError("more than 4 GiB of records at once")
            if self.records is not None:
                self.count = self.records.r.n_records
            else:
                with nogil:
                    st = mg_sort_count(self.p, self.n, &self.count)
                check(st)
            if not self.count:
                return
            self.items = <mg_sort_item *>mg_alloc(self.count * sizeof(mg_sort_item))
            scratch = <mg_sort_item *>mg_alloc(self.count * sizeof(mg_sort_item))
            if self.items != NULL and scratch != NULL:
                with nogil:
                    st = mg_sort_records(self.p, self.n, self.count, self.items, scratch)
            else:
                st = MG_NOMEM
            mg_free(scratch)
            if st != MG_OK:
                self.count = 0
            check(st)

    cdef void look(self) noexcept:
        # Where the records stand now. A Records may have moved or lost them; then mg_sort_write notices.
        if self.viewed:
            self.p = <const uint8_t *>self.view.buf
            self.n = <size_t>self.view.len
        else:
            self.p = self.records.r.records.data
            self.n = self.records.r.records.len

    def __dealloc__(self):
        mg_free(self.items)
        if self.viewed:
            PyBuffer_Release(&self.view)

    def __len__(self):
        return self.count

    def next_block(self, size_t size=262144):
        """The next records in order, as many whole ones as fit in `size` bytes (but at least one); None at the end."""
        cdef PyObject *block
        cdef uint8_t *out = NULL
        cdef size_t made = 0
        cdef uint32_t one = 0
        cdef mg_status st
        with self.lock:
            if self.next >= self.count:
                return None
            self.look()
            size = min(size, self.n)
            while True:
                block = mg_bytes_new(<Py_ssize_t>size, &out)
                with nogil:
                    st = mg_sort_write(self.p, self.n, self.items, self.count, &self.next, out, size, &made)
                if st != MG_FULL or made:
                    break
                mg_bytes_drop(block)
                memcpy(&one, self.p + self.items[self.next].off, 4)
                size = one  # the next record alone is larger
            if st == MG_CORRUPT:
                mg_bytes_drop(block)
                raise RuntimeError("mailgenius: the records were changed after they had been sorted")
            return mg_bytes_end(block, <Py_ssize_t>made)


def block_key(block not None):
    """The e-mail of a block's first record."""
    cdef Py_buffer view
    cdef const uint8_t *key = NULL
    cdef size_t n = 0
    PyObject_GetBuffer(block, &view, PyBUF_SIMPLE)
    try:
        check(mg_sort_key(<const uint8_t *>view.buf, <size_t>view.len, &key, &n))
        return PyBytes_FromStringAndSize(<const char *>key, <Py_ssize_t>n)
    finally:
        PyBuffer_Release(&view)


cdef class Chunk:
    """Distinct records in the order of their e-mail, and the duplicates that were met between them."""
    cdef mg_chunk c
    cdef size_t changes  # grows whenever records come or go
    cdef size_t dropped  # duplicates that are no longer in the list
    cdef cython.pymutex lock

    def __cinit__(self):
        mg_chunk_init(&self.c)

    def __dealloc__(self):
        mg_chunk_free(&self.c)

    def __len__(self):
        return self.c.n

    @property
    def nbytes(self):
        """Size of the records in bytes."""
        return self.c.data.len

    def clear(self):
        """Drops records and duplicates, keeps the memory."""
        with self.lock:
            self.changes += 1
            self.dropped = 0
            mg_chunk_clear(&self.c)

    cdef const uint8_t *record(self, Py_ssize_t i) except NULL:
        if not 0 <= i < <Py_ssize_t>self.c.n:
            raise IndexError(f"record {i} of {self.c.n}")
        return self.c.data.data + self.c.off[i]

    def key(self, Py_ssize_t i):
        """The e-mail of record i."""
        with self.lock:
            return record_key(self.record(i))

    def line(self, Py_ssize_t i):
        """The line that record i began on."""
        with self.lock:
            return record_line(self.record(i))

    def duplicates(self, size_t start=0, stop=None):
        """[(line, line of the record that was kept, e-mail)], or a part of them: a hostile file can have very many."""
        cdef size_t i, end
        cdef const uint8_t *r
        found = []
        with self.lock:
            end = self.c.n_dups if stop is None else min(<size_t>stop, self.c.n_dups)
            for i in range(start, end):
                r = self.c.data.data + self.c.dups[i].off
                found.append((self.c.dups[i].line, record_line(r), record_key(r)))
        return found

    @property
    def duplicate_count(self):
        """How many duplicates were met, those dropped from the list included."""
        return self.c.n_dups + self.dropped

    def drop_duplicates(self):
        """Empties the list of duplicates; they stay counted."""
        with self.lock:
            self.dropped += self.c.n_dups
            self.c.n_dups = 0

    def keys(self, mask=None, uint8_t want=0):
        """PostgreSQL's binary text[] of the e-mails of the records whose mask byte is `want` (no mask: of all)."""
        cdef Py_buffer view
        cdef const uint8_t *m = NULL
        cdef mg_buf out
        cdef mg_status st
        mg_buf_init(&out)
        if mask is not None:
            PyObject_GetBuffer(mask, &view, PyBUF_SIMPLE)
        try:
            with self.lock:
                if mask is not None:
                    m = mask_of(&view, self.c.n)
                with nogil:
                    st = mg_pg_keys(&self.c, m, want, &out)
            check(st)
            return PyBytes_FromStringAndSize(<const char *>out.data, <Py_ssize_t>out.len)
        finally:
            mg_buf_free(&out)
            if mask is not None:
                PyBuffer_Release(&view)

    def mark(self, bytes found not None, mask, uint8_t value):
        """Sets the mask bytes of the records whose e-mails are in PostgreSQL's binary text[] `found` to `value`."""
        cdef Py_buffer view
        cdef const uint8_t *p = <const uint8_t *>PyBytes_AS_STRING(found)
        cdef size_t n = <size_t>PyBytes_GET_SIZE(found)
        cdef mg_status st
        PyObject_GetBuffer(mask, &view, PyBUF_WRITABLE)
        try:
            with self.lock:
                mask_of(&view, self.c.n)
                with nogil:
                    st = mg_pg_mark(&self.c, p, n, value, <uint8_t *>view.buf)
            if st == MG_CORRUPT:
                raise ValueError("not a text[] in PostgreSQL's binary form")
            check(st)
        finally:
            PyBuffer_Release(&view)

    def copy(self, mask, uint8_t want, uint32_t fields, bytes head not None, uint16_t head_fields, defaults=(),
             size_t max_bytes=1 << 20):
        """COPY BINARY tuples of the records whose mask byte is `want`, in pieces of about `max_bytes`.

        A tuple is `head` (`head_fields` constant columns, each an int32 length and bytes), then those lead fields whose
        bit is set in `fields`. NULLs become the field's entry in `defaults` (b"": they stay NULL). File header and
        trailer are the caller's. The chunk must stay as it is meanwhile.
        """
        return CopyPieces(self, mask, want, fields, head, head_fields, tuple(defaults), max_bytes)


cdef inline bytes record_key(const uint8_t *r):
    return PyBytes_FromStringAndSize(<const char *>r + 16,
                                     <Py_ssize_t>r[12] << 24 | <Py_ssize_t>r[13] << 16 | <Py_ssize_t>r[14] << 8 | r[15])


cdef inline object record_line(const uint8_t *r):
    cdef uint64_t line
    memcpy(&line, r + 4, 8)
    return line


cdef const uint8_t *mask_of(Py_buffer *view, size_t n) except? NULL:
    if view.itemsize != 1 or <size_t>view.len != n:
        raise ValueError(f"the mask must have one byte for each of the {n} records")
    return <const uint8_t *>view.buf


cdef class CopyPieces:
    # The iterator behind Chunk.copy.
    cdef Chunk chunk
    cdef object mask
    cdef Py_buffer view
    cdef uint8_t want
    cdef uint16_t head_fields
    cdef uint32_t fields
    cdef bytes head, defaults
    cdef uint32_t default_off[64]
    cdef size_t next, max_bytes, changes
    cdef bint done
    cdef mg_buf out

    def __cinit__(self, Chunk chunk not None, mask, uint8_t want, uint32_t fields, bytes head not None,
                  uint16_t head_fields, tuple defaults not None, size_t max_bytes):
        cdef uint32_t at = 0, i
        mg_buf_init(&self.out)
        if fields >> MG_LEAD_FIELD_COUNT:
            raise ValueError(f"fields has bits beyond the {MG_LEAD_FIELD_COUNT} lead fields")
        if defaults and len(defaults) != MG_LEAD_FIELD_COUNT:
            raise ValueError(f"{len(defaults)} defaults for {MG_LEAD_FIELD_COUNT} lead fields")
        for i, default in enumerate(defaults):
            if default and (len(default) < 4 or int.from_bytes(default[:4], "big") != len(default) - 4):
                raise ValueError(f"default {i} is not a length and as many bytes")
            self.default_off[i] = at
            at += <uint32_t>len(default)
            self.default_off[i + 1] = at
        self.defaults = b"".join(defaults)
        self.chunk = chunk
        self.changes = chunk.changes
        self.want = want
        self.fields = fields
        self.head = head
        self.head_fields = head_fields
        self.max_bytes = max_bytes
        if mask is not None:
            PyObject_GetBuffer(mask, &self.view, PyBUF_SIMPLE)
            self.mask = mask
            mask_of(&self.view, chunk.c.n)

    def __dealloc__(self):
        mg_buf_free(&self.out)
        if self.mask is not None:
            PyBuffer_Release(&self.view)

    def __iter__(self):
        return self

    def __next__(self):
        cdef mg_status st
        cdef const uint8_t *mask = NULL
        cdef const uint32_t *default_off = self.default_off if self.defaults else NULL
        cdef const uint8_t *head = <const uint8_t *>PyBytes_AS_STRING(self.head)
        cdef const uint8_t *defaults = <const uint8_t *>PyBytes_AS_STRING(self.defaults)
        cdef size_t head_len = <size_t>PyBytes_GET_SIZE(self.head)
        if self.done:
            raise StopIteration
        with self.chunk.lock:
            if self.changes != self.chunk.changes:
                raise RuntimeError("the chunk was changed while it was being copied")
            if self.mask is not None:
                mask = mask_of(&self.view, self.chunk.c.n)
            self.out.len = 0
            with nogil:
                st = mg_pg_copy(&self.chunk.c, mask, self.want, self.fields, head, head_len, self.head_fields, defaults,
                                default_off, self.max_bytes, &self.next, &self.out)
            check(st)
            self.done = st == MG_DONE
            if not self.out.len:
                raise StopIteration
            return PyBytes_FromStringAndSize(<const char *>self.out.data, <Py_ssize_t>self.out.len)


cdef class Merge:
    """Sorted inputs -> chunks of distinct keys in order. lo < key <= hi, where given.

    Inputs are fed block by block, when next() asks. Blocks are only read, so several merges can share them.
    """
    cdef mg_merge *m
    cdef size_t inputs
    cdef list blocks  # what keeps the windows alive
    cdef Py_buffer *views
    cdef Chunk chunk  # the one that next() must go on with
    cdef size_t changes
    cdef cython.pymutex lock

    def __cinit__(self, size_t inputs, lo=None, hi=None):
        cdef bytes low = None if lo is None else bytes(lo)
        cdef bytes high = None if hi is None else bytes(hi)
        if inputs > 1 << 20:
            raise ValueError("more than 2**20 inputs")
        self.inputs = inputs
        self.blocks = [None] * inputs
        self.views = <Py_buffer *>mg_alloc(max(inputs, 1) * sizeof(Py_buffer))
        self.m = mg_merge_new(inputs)
        if self.views == NULL or self.m == NULL:
            raise MemoryError("mailgenius: out of memory in the compiled core")
        if (low is not None and len(low) > 65535) or (high is not None and len(high) > 65535):
            raise ValueError("a bound is longer than 65,535 bytes")
        check(mg_merge_bounds(
            self.m,
            NULL if low is None else <const uint8_t *>PyBytes_AS_STRING(low), 0 if low is None else len(low),
            NULL if high is None else <const uint8_t *>PyBytes_AS_STRING(high), 0 if high is None else len(high)))

    def __dealloc__(self):
        if self.blocks is not None:
            for i in range(<Py_ssize_t>self.inputs):
                self.release(i)
        mg_merge_free(self.m)
        mg_free(self.views)

    cdef int release(self, Py_ssize_t i) except -1:
        if self.blocks[i] is not None:
            PyBuffer_Release(&self.views[i])
            self.blocks[i] = None
        return 0

    def feed(self, Py_ssize_t which, block):
        """Gives input `which` its next block of whole records, or None: it is at its end."""
        cdef mg_merge_input *inp
        cdef Py_buffer view
        if not 0 <= which < <Py_ssize_t>self.inputs:
            raise IndexError(f"input {which} of {self.inputs}")
        with self.lock:
            inp = mg_merge_inputs(self.m) + which
            if inp.eof:
                raise ValueError(f"input {which} is at its end")
            if inp.pos < inp.len:
                raise ValueError(f"input {which} still has a block to read")
            if block is not None:
                PyObject_GetBuffer(block, &view, PyBUF_SIMPLE)
            self.release(which)
            inp.p = NULL
            inp.len = inp.pos = 0
            if block is None:
                inp.eof = 1
            else:
                self.views[which] = view
                self.blocks[which] = block
                inp.p = <const uint8_t *>view.buf
                inp.len = <size_t>view.len

    def next(self, Chunk chunk not None, size_t max_records=50000, size_t max_bytes=1 << 25):
        """Fills the chunk: -2 when it is full, -1 when nothing is left (it may still hold records), -3 when its list of
        duplicates is full (drop_duplicates, then call again with the same chunk), else the number of the input that
        needs a block: feed it and call again with the same chunk. A chunk never ends between equal keys."""
        cdef mg_status st
        cdef size_t which = 0
        with self.lock, chunk.lock:
            if self.chunk is not None and (self.chunk is not chunk or self.changes != chunk.changes):
                raise ValueError("the chunk before is not full yet: go on with it, as it was")
            chunk.changes += 1
            with nogil:
                st = mg_merge_next(self.m, max_records, max_bytes, &chunk.c, &which)
            self.chunk = chunk if st == MG_NEED_MORE or st == MG_DRAIN else None
            self.changes = chunk.changes
        check(st)
        if st == MG_NEED_MORE:
            return which
        return -1 if st == MG_DONE else -3 if st == MG_DRAIN else -2
