# QueryCounters: what each statement costs, in bounded memory. mailgenius.pool.statements.QueryStats names the columns.
#
# No lock is held while Python code may run. Critical sections (see histogram.pxi) cover dict operations on plain str and
# C counters alone: nothing there makes an object that the garbage collector tracks, which could run finalizers, unless it
# says so.
from collections import deque as _deque
from cpython.dict cimport PyDict_Values

__all__ += ["QueryCounters"]

cdef str OTHER = "(other)"
cdef size_t TEXTS = 4               # texts remembered for each statement of the capacity
cdef Py_ssize_t TEXT_MAX = 1 << 16  # characters of a text that is remembered
cdef Py_ssize_t TEXTS_MAX = 1 << 22  # characters of all of them
cdef dict COLUMNS = {"calls": 1, "errors": 2, "total": 4, "mean": 5, "p99": 8}  # of a row

ctypedef struct query_row:
    uint64_t calls, errors, rows, max
    uint64_t quantile[3]
    double total


@cython.final
@cython.no_gc
cdef class _Entry:
    # One statement. Folded into another entry it has no histogram any more; texts may still lead to it.
    cdef str statement
    cdef mg_hist *h
    cdef uint64_t weight, errors, rows

    def __dealloc__(self):
        mg_free(self.h)


cdef _Entry new_entry(str statement):
    # It has no histogram yet.
    cdef _Entry entry = _Entry.__new__(_Entry)
    entry.statement = statement
    return entry


cdef int with_histogram(_Entry entry) except -1:
    entry.h = <mg_hist *>mg_alloc(sizeof(mg_hist))
    if entry.h == NULL:
        raise MemoryError("mailgenius: no memory for the counters of a statement")
    mg_hist_init(entry.h)
    return 0


cdef inline void counted(_Entry entry, uint64_t ns, int64_t rows, bint error) noexcept:
    entry.weight += 1
    entry.errors += error
    if rows > 0:
        entry.rows += <uint64_t>rows
    mg_hist_observe(entry.h, ns)


cdef void folded(_Entry into, _Entry entry) noexcept:
    into.errors += entry.errors
    into.rows += entry.rows
    mg_hist_merge(into.h, entry.h)


cdef void read_row(query_row *row, const mg_hist *h, uint64_t errors, uint64_t rows) noexcept:
    cdef double[3] q = [0.5, 0.95, 0.99]
    row.calls, row.errors, row.rows, row.max = h.count, errors, rows, h.max
    row.total = (<double>h.sum_high * 18446744073709551616.0 + <double>h.sum) / 1e9
    mg_hist_quantiles(h, q, 3, row.quantile)


cdef tuple as_tuple(str statement, const query_row *row):
    return (statement, row.calls, row.errors, row.rows, row.total, row.total / row.calls if row.calls else 0.0,
            row.quantile[0] / 1e9, row.quantile[1] / 1e9, row.quantile[2] / 1e9, row.max / 1e9)


cdef class QueryCounters:
    """Calls, errors, rows and durations of each statement, and the last slow calls. Threads may share it.

    ``normalise`` makes the statement out of a text, which is how texts with different literals count as one. It is called
    once for a text and what it said is remembered: for four texts a statement of the capacity, with 4 Mi characters
    together, none of them over 64 Ki; when there are more, all are forgotten and asked for again.

    At most ``capacity`` statements are told apart, with 10 kB each. For one more, the one of the least weight is folded
    into "(other)", so that sums stay exact. The newcomer inherits its weight and adds its own calls (the Space-Saving
    algorithm): of N calls, a statement with more than N / capacity of them is always there, and at most N / capacity of
    its calls were counted as "(other)".

    A call of ``slow_seconds`` or more is slow; the last ``slow_kept`` of them are kept, without parameters.
    """
    cdef dict texts, entries  # text -> _Entry; statement -> _Entry
    cdef _Entry other
    cdef object normalise, kept
    cdef size_t capacity
    cdef Py_ssize_t chars  # of the texts
    cdef double slow_seconds
    cdef uint64_t slow

    def __cinit__(self, size_t capacity=512, double slow_seconds=0.5, size_t slow_kept=100, normalise=str):
        if not 1 <= capacity <= 1 << 20:
            raise ValueError(f"capacity is from 1 to 2**20 statements, not {capacity}")
        if not slow_seconds >= 0:
            raise ValueError(f"slow_seconds is a number from 0, or infinity for none, not {slow_seconds!r}")
        if slow_kept > 1 << 20:
            raise ValueError(f"slow_kept is at most 2**20 calls, not {slow_kept}")
        if not callable(normalise):
            raise TypeError("normalise is a function that makes a statement out of a text")
        self.texts, self.entries = {}, {}
        self.other = new_entry(OTHER)
        with_histogram(self.other)
        self.capacity = capacity
        self.slow_seconds = slow_seconds
        self.normalise = normalise
        self.kept = _deque(maxlen=slow_kept)

    def record(self, str text not None, double seconds, int64_t rows=0, bint error=False, detail=None):
        """Counts one call. Returns the number of a slow call, 0 for another. ``rows`` below 0 (unknown to the driver)
        count as 0; ``detail`` is kept of a slow call only.

        ValueError, and nothing counted, if ``seconds`` is negative, NaN or infinite.
        """
        return self.counted(text, seconds, rows, error, detail)

    def record_since(self, str text not None, double began, rows=0, bint error=False):
        """``record`` of a call that began at ``began`` of ``time.perf_counter`` and ends now. ``rows``: their number, or
        a list of them. (What is done here costs half of what it does in Python.)"""
        return self.counted(text, seconds_since(began), len(<list>rows) if type(rows) is list else rows, error, None)

    cdef object counted(self, str text, double seconds, int64_t rows, bint error, object detail):
        cdef uint64_t ns = <uint64_t>nanoseconds(seconds)
        cdef uint64_t number = 0
        cdef _Entry entry
        cdef bint known
        with cython.critical_section(self):
            entry = <_Entry>self.texts.get(text)
            known = entry is not None and entry.h != NULL
            if known:
                counted(entry, ns, rows, error)
        if not known:
            entry = self.found(text, entry, ns, rows, error)
        if seconds >= self.slow_seconds:
            with cython.critical_section(self):
                self.slow += 1
                number = self.slow
            self.kept.append((entry.statement, seconds, rows if rows > 0 else 0, error, number, detail))
        return number

    cdef _Entry found(self, str text, _Entry known, uint64_t ns, int64_t rows, bint error):
        # Counts a call whose text is new, or leads to a statement that was folded.
        cdef _Entry entry
        cdef str statement
        if known is not None:
            statement = known.statement
        else:
            said = self.normalise(text)
            if type(said) is not str:
                raise TypeError(f"normalise must return a str, not {type(said).__name__}")
            statement = said
        with cython.critical_section(self):
            entry = <_Entry>self.entries.get(statement) if statement != OTHER else self.other
            if entry is None:
                entry = new_entry(statement)
                self.settle(entry)
            counted(entry, ns, rows, error)
            self.remember(text, entry)
        return entry

    cdef int settle(self, _Entry newcomer) except -1:
        # Without room, the entry of least weight gives way to it, and its memory too.
        cdef _Entry entry, least = None
        if <size_t>len(self.entries) < self.capacity:
            with_histogram(newcomer)
        else:
            for entry in self.entries.values():
                if least is None or entry.weight < least.weight:
                    least = entry
            folded(self.other, least)
            del self.entries[least.statement]
            newcomer.weight = least.weight
            newcomer.h, least.h = least.h, NULL
            mg_hist_init(newcomer.h)
        self.entries[newcomer.statement] = newcomer
        return 0

    cdef int remember(self, str text, _Entry entry) except -1:
        if text not in self.texts:
            if len(text) > TEXT_MAX:
                return 0
            if self.chars + len(text) > TEXTS_MAX or <size_t>len(self.texts) >= TEXTS * self.capacity:
                self.texts.clear()
                self.chars = 0
            self.chars += len(text)
        self.texts[text] = entry
        return 0

    def top_rows(self, Py_ssize_t n=20, str by="total"):
        """The first ``n`` statements by "total", "calls", "mean", "p99" or "errors", "(other)" among them, as tuples:
        statement, calls, errors, rows, total, mean, p50, p95, p99, max; the last six in seconds."""
        cdef list entries
        cdef query_row *rows = NULL
        cdef _Entry entry
        cdef Py_ssize_t i
        if by not in COLUMNS:
            raise ValueError(f"by is one of {', '.join(COLUMNS)}, not {by!r}")
        if n < 0:
            raise ValueError(f"n is a number from 0, not {n}")
        try:
            with cython.critical_section(self):
                entries = PyDict_Values(self.entries)  # tracked, but from here on all is of one moment
                entries.append(self.other)
                rows = <query_row *>mg_alloc(<size_t>len(entries) * sizeof(query_row))
                if rows == NULL:
                    raise MemoryError("mailgenius: no memory for the statistics of queries")
                for i in range(len(entries)):
                    entry = <_Entry>entries[i]
                    read_row(&rows[i], entry.h, entry.errors, entry.rows)
            made = [as_tuple((<_Entry>entries[i]).statement, &rows[i]) for i in range(len(entries)) if rows[i].calls]
        finally:
            mg_free(rows)
        column = COLUMNS[by]
        made.sort(key=lambda row: row[column], reverse=True)
        return made[:n]

    def total_row(self):
        """All statements together, as such a tuple; its statement is "(all)"."""
        cdef mg_hist h
        cdef query_row row
        cdef uint64_t errors, rows
        cdef _Entry entry
        with cython.critical_section(self):
            h = self.other.h[0]
            errors, rows = self.other.errors, self.other.rows
            for entry in self.entries.values():
                mg_hist_merge(&h, entry.h)
                errors += entry.errors
                rows += entry.rows
        read_row(&row, &h, errors, rows)
        return as_tuple("(all)", &row)

    def slow_rows(self):
        """The last slow calls, the oldest first, as tuples: statement, seconds, rows, error, number, detail.

        The number counts slow calls from 1, also those that are no longer kept, and goes on after ``reset``.
        """
        return sorted(self.kept.copy(), key=lambda call: call[4])

    def reset(self):
        """Forgets everything but the number of slow calls."""
        texts, entries = {}, {}
        other = new_entry(OTHER)
        with_histogram(other)
        with cython.critical_section(self):
            self.texts, texts = texts, self.texts
            self.entries, entries = entries, self.entries
            self.other, other = other, self.other
            self.chars = 0
        self.kept.clear()
