# Plan and Records: rows of a Batch -> lead records (kernels/encode.c).
from array import array as _array
from json import dumps as _dumps

cdef extern from "mg.h" nogil:
    ctypedef enum mg_lead_field:
        MG_LEAD_EMAIL, MG_LEAD_FIELDS
    ctypedef struct mg_plan:
        uint32_t columns
        uint32_t pad
        const int16_t *target
        const uint32_t *max_chars
        const uint8_t *names
        const uint32_t *name_off
        uint32_t address_options
        uint8_t dates
        uint8_t tag_separator
        uint16_t untrimmed
        const uint8_t *tags
        uint32_t tags_len
        uint32_t n_tags
        uint32_t quote
    ctypedef struct mg_problem:
        uint32_t row
        uint32_t column
        uint32_t reason
        uint32_t at
    ctypedef struct mg_records:
        mg_buf records
        size_t n_records
        mg_problem *problems
        size_t n_problems
    void mg_records_init(mg_records *r) noexcept
    void mg_records_clear(mg_records *r) noexcept
    void mg_records_free(mg_records *r) noexcept
    mg_status mg_encode(const mg_plan *plan, const mg_batch *batch, mg_records *out) noexcept
    mg_status mg_encode_row(const mg_plan *plan, const mg_batch *batch, uint32_t row, const uint8_t *email,
                            uint32_t email_len, mg_records *out) noexcept
    int mg_timestamp_parse(const uint8_t *p, size_t n, uint8_t order, int64_t *micros, uint32_t *at) noexcept

__all__ += ["ATTRIBUTE", "DATES", "IGNORE", "LEAD_FIELDS", "Plan", "Records", "parse_timestamp"]

LEAD_FIELDS = ("email", "first_name", "last_name", "phone", "company", "city", "country", "tags", "attributes", "status",
               "score", "created_at")
ATTRIBUTE = -1
IGNORE = -2
DATES = ("iso", "dmy", "mdy")


cdef class Plan:
    """What becomes of each column: see mg_plan in mg.h. Keeps copies of all it is given; never changes.

    ``untrimmed``: the batches come from ``CsvScanner(trim=False)``; blanks around their fields are trimmed here then.
    """
    cdef mg_plan p
    cdef tuple kept

    def __init__(self, targets, max_chars, names, *, bint pad=False, uint32_t address_options=0, int dates=0,
                 int tag_separator=0, tags=(), int quote=34, bint untrimmed=False):
        cdef uint32_t n = <uint32_t>len(targets)
        if len(max_chars) != n or len(names) != n:
            raise ValueError(f"{n} targets, {len(max_chars)} limits and {len(names)} names: one of each for every column")
        if not 0 <= dates < len(DATES):
            raise ValueError(f"dates must be 0 (iso), 1 (dmy) or 2 (mdy), not {dates}")
        if not (0 <= tag_separator < 128 and 0 <= quote < 128):
            raise ValueError("tag_separator and quote must be ASCII, as numbers, or 0")
        used = [t for t in targets if t not in (ATTRIBUTE, IGNORE)]
        for t in used:
            if not 0 <= t < MG_LEAD_FIELDS or t == LEAD_FIELDS.index("attributes"):
                raise ValueError(f"{t} is not the number of a lead field that a column can be")
        if len(used) != len(set(used)):
            raise ValueError("two columns have the same target")
        if MG_LEAD_EMAIL not in used:
            raise ValueError("no column is the e-mail")
        quoted, offsets, end = [], [0], 0
        for target, name in zip(targets, names):
            text = _dumps(name, ensure_ascii=False).encode() if target == ATTRIBUTE else b""
            if target == ATTRIBUTE and "\0" in name:
                raise ValueError(f"the name of an attribute may not hold NUL: {name!r}")
            quoted.append(text)
            end += len(text)
            offsets.append(end)
        own = list(dict.fromkeys([tag.encode() for tag in tags]))
        if len(own) > 1000 or any(not tag or b"\0" in tag for tag in own):
            raise ValueError("tags: at most 1,000, none empty or with NUL")
        cdef bytes names_ = b"".join(quoted)
        cdef bytes tags_ = b"".join([len(tag).to_bytes(4, "big") + tag for tag in own])
        cdef bytes targets_ = _array("h", targets).tobytes()
        cdef bytes max_ = _array("I", max_chars).tobytes()
        cdef bytes offsets_ = _array("I", offsets).tobytes()
        self.kept = (names_, tags_, targets_, max_, offsets_)
        memset(&self.p, 0, sizeof(mg_plan))
        self.p.columns = n
        self.p.pad = pad
        self.p.target = <const int16_t *>PyBytes_AS_STRING(targets_)
        self.p.max_chars = <const uint32_t *>PyBytes_AS_STRING(max_)
        self.p.names = <const uint8_t *>PyBytes_AS_STRING(names_)
        self.p.name_off = <const uint32_t *>PyBytes_AS_STRING(offsets_)
        self.p.address_options = address_options
        self.p.dates = <uint8_t>dates
        self.p.tag_separator = <uint8_t>tag_separator
        self.p.tags = <const uint8_t *>PyBytes_AS_STRING(tags_)
        self.p.tags_len = <uint32_t>len(tags_)
        self.p.n_tags = <uint32_t>len(own)
        self.p.quote = <uint32_t>quote
        self.p.untrimmed = untrimmed


cdef class Records:
    """Lead records one behind the other, and the problems of the rows that became none. One thread at a time."""
    cdef mg_records r
    cdef bint busy  # a kernel works on it without the GIL

    def __cinit__(self):
        mg_records_init(&self.r)

    cdef int idle(self) except -1:
        if self.busy:
            raise RuntimeError("these Records are in use by another thread")
        return 0

    cdef int own(self) except -1:
        self.idle()
        self.busy = True
        return 0

    def __dealloc__(self):
        mg_records_free(&self.r)

    @property
    def count(self):
        """Number of records."""
        return self.r.n_records

    @property
    def nbytes(self):
        """Their size in bytes."""
        return self.r.records.len

    def encode(self, Plan plan not None, Batch batch not None):
        """Appends a record or a problem for every row of the batch."""
        cdef mg_status st
        if plan.p.columns == 0:
            raise ValueError("the plan was not made")
        self.own()
        try:
            batch.use()
            try:
                with nogil:
                    st = mg_encode(&plan.p, &batch.b, &self.r)
            finally:
                batch.unuse()
        finally:
            self.busy = False
        check(st)

    def encode_row(self, Plan plan not None, Batch batch not None, uint32_t row, bytes email not None):
        """Appends the record of one row under this (normalised) e-mail address, or a problem."""
        if plan.p.columns == 0:
            raise ValueError("the plan was not made")
        batch.at(row)
        if not 0 < PyBytes_GET_SIZE(email) <= 65535:
            raise ValueError("the address is empty or longer than 65,535 bytes")
        self.idle()
        check(mg_encode_row(&plan.p, &batch.b, row, <const uint8_t *>PyBytes_AS_STRING(email),
                            <uint32_t>PyBytes_GET_SIZE(email), &self.r))

    def take_problems(self):
        """[(row, column, reason, byte offset in the field)], in row order for each call of encode; then none are left."""
        cdef size_t i
        cdef mg_problem *p
        self.idle()
        p = self.r.problems
        taken = [(p[i].row, p[i].column, p[i].reason, p[i].at) for i in range(self.r.n_problems)]
        self.r.n_problems = 0
        return taken

    def tobytes(self):
        """A copy of the records."""
        self.idle()
        return PyBytes_FromStringAndSize(<const char *>self.r.records.data, <Py_ssize_t>self.r.records.len)

    def clear(self):
        """Drops records and problems, keeps the memory."""
        self.idle()
        mg_records_clear(&self.r)


def parse_timestamp(bytes text not None, int dates=0):
    """Microseconds from 2000-01-01 UTC, or None if `text` is not a date and time in this order (an index into DATES)."""
    cdef int64_t micros = 0
    cdef uint32_t at = 0
    if not 0 <= dates < len(DATES):
        raise ValueError(f"dates must be 0 (iso), 1 (dmy) or 2 (mdy), not {dates}")
    if mg_timestamp_parse(<const uint8_t *>PyBytes_AS_STRING(text), <size_t>PyBytes_GET_SIZE(text), <uint8_t>dates,
                          &micros, &at) != 0:
        return None
    return micros
