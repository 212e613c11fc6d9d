# Histogram: how long things took, with quantiles (kernels/histogram.c).
#
# Critical sections instead of a mutex: nothing in them releases the GIL or runs Python code, so that where there is a GIL
# it is the lock, and they cost nothing.
cimport cython
from cpython.number cimport PyNumber_Index
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

cdef extern from "mg.h" nogil:
    uint32_t MG_HIST_BUCKETS
    ctypedef struct mg_hist:
        uint64_t count, overflow, sum, sum_high, min, max
        uint64_t bucket[1]  # MG_HIST_BUCKETS
    void mg_hist_init(mg_hist *h) noexcept
    void mg_hist_observe(mg_hist *h, uint64_t ns) noexcept
    void mg_hist_merge(mg_hist *into, const mg_hist *from_) noexcept
    void mg_hist_quantiles(const mg_hist *h, const double *q, size_t n, uint64_t *out) noexcept
    uint64_t mg_hist_last(uint32_t bucket) noexcept

__all__ += ["Histogram"]

cdef double SECONDS_MAX = 9.2e9  # 291 years; int64 holds 292 of nanoseconds


cdef int bad_seconds(double seconds) except -1:
    raise ValueError(f"a duration is a number of seconds from 0 to 9.2e9, not {seconds!r}")


cdef inline int64_t nanoseconds(double seconds) except -1:
    if not 0 <= seconds <= SECONDS_MAX:  # NaN neither
        bad_seconds(seconds)
    return <int64_t>(seconds * 1e9 + 0.5)


cdef inline double seconds_since(double began) noexcept:
    # Of time.perf_counter and time.monotonic, which are this clock on Linux, rounded in the same way: never negative.
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return <double>(<int64_t>now.tv_sec * 1000000000 + now.tv_nsec) / 1e9 - began


cdef inline object total_seconds(const mg_hist *h):
    return ((<object>h.sum_high << 64) + h.sum) / 10**9  # of integers: rounded once


cdef class Histogram:
    """Durations, and their quantiles within 1.6 %, in about 10 kB whatever is observed.

    Durations are rounded to nanoseconds. Up to 73 minutes they are told apart; longer ones count as one bucket without
    an upper bound. ``count``, ``sum``, ``min`` and ``max`` are exact for all. Threads may share a histogram.
    """
    cdef mg_hist h

    def __cinit__(self):
        mg_hist_init(&self.h)

    def observe(self, double seconds):
        """Counts a duration. ValueError if it is negative, NaN, infinite or over 9.2e9 s."""
        self.count_seconds(seconds)

    cdef int count_seconds(self, double seconds) except -1:
        cdef uint64_t ns = <uint64_t>nanoseconds(seconds)
        with cython.critical_section(self):
            mg_hist_observe(&self.h, ns)
        return 0

    def observe_since(self, double began):
        """Counts what began at ``began`` of ``time.monotonic`` or ``time.perf_counter`` and ends now."""
        cdef uint64_t ns = <uint64_t>nanoseconds(seconds_since(began))
        with cython.critical_section(self):
            mg_hist_observe(&self.h, ns)

    def observe_ns(self, ns):
        """Counts a duration in whole nanoseconds. ValueError if it is negative or over 2**63 - 1."""
        cdef int64_t value = -1
        try:
            value = PyNumber_Index(ns)
        except OverflowError:
            pass
        if value < 0:
            raise ValueError(f"a duration is a number of nanoseconds from 0 to 2**63 - 1, not {ns!r}")
        with cython.critical_section(self):
            mg_hist_observe(&self.h, <uint64_t>value)

    @property
    def count(self):
        """How many were observed."""
        with cython.critical_section(self):
            return self.h.count

    @property
    def overflow(self):
        """How many of them were 73 minutes (2**42 ns) or longer."""
        with cython.critical_section(self):
            return self.h.overflow

    @property
    def sum(self):
        """Seconds of all together."""
        with cython.critical_section(self):
            return total_seconds(&self.h)

    @property
    def min(self):
        """Seconds of the shortest; None if there are none."""
        with cython.critical_section(self):
            return self.h.min / 1e9 if self.h.count else None

    @property
    def max(self):
        """Seconds of the longest; None if there are none."""
        with cython.critical_section(self):
            return self.h.max / 1e9 if self.h.count else None

    def quantile(self, double q):
        """Seconds that the part ``q`` (0 to 1) did not exceed: the one at rank ceil(q * count). None if there are none.

        Within 1.6 %; exact for the first and the last. Of durations over 73 minutes it says only that.
        """
        return self.quantiles((q,))[0]

    def quantiles(self, qs):
        """Several at once, of one state: see ``quantile``."""
        cdef double q[64]
        cdef uint64_t ns[64]
        cdef bint empty
        cdef size_t i, n = 0
        for value in qs:
            if n == 64:
                raise ValueError("more than 64 quantiles at once")
            q[n] = value
            if not 0 <= q[n] <= 1:
                raise ValueError(f"a quantile is a number from 0 to 1, not {value!r}")
            n += 1
        with cython.critical_section(self):
            empty = self.h.count == 0
            mg_hist_quantiles(&self.h, q, n, ns)
        return [None if empty else ns[i] / 1e9 for i in range(n)]

    def merge(self, Histogram other not None):
        """Adds what ``other`` observed."""
        with cython.critical_section(self, other):
            mg_hist_merge(&self.h, &other.h)

    def reset(self):
        """Forgets everything."""
        with cython.critical_section(self):
            mg_hist_init(&self.h)

    cdef mg_hist copied(self):
        with cython.critical_section(self):
            return self.h

    def buckets(self):
        """(upper bound in seconds, how many were not longer) for each bucket that holds some, rising.

        The bound of durations over 73 minutes is infinity. A bound belongs to its bucket, as ``le`` of Prometheus does.
        """
        cdef mg_hist h = self.copied()
        cdef uint64_t seen = 0, held
        cdef uint32_t i
        found = []
        for i in range(MG_HIST_BUCKETS):
            held = h.bucket[i]
            if i + 1 == MG_HIST_BUCKETS:
                held -= h.overflow
            if held:
                seen += held
                found.append((mg_hist_last(i) / 1e9, seen))
        if h.overflow:
            found.append((float("inf"), h.count))
        return found

    def __repr__(self):
        cdef mg_hist h = self.copied()
        cdef double q[2]
        cdef uint64_t ns[2]
        if not h.count:
            return "<Histogram, empty>"
        q[0], q[1] = 0.5, 0.99
        mg_hist_quantiles(&h, q, 2, ns)
        return f"<Histogram of {h.count:,}: p50 {ns[0] / 1e9:.3g} s, p99 {ns[1] / 1e9:.3g} s, max {h.max / 1e9:.3g} s>"

    def __reduce__(self):
        cdef mg_hist h = self.copied()
        cdef uint32_t i
        held = [(i, h.bucket[i]) for i in range(MG_HIST_BUCKETS) if h.bucket[i]]
        return type(self), (), ((<object>h.sum_high << 64) + h.sum, h.min, h.max, h.overflow, held)

    def __setstate__(self, state):
        cdef mg_hist h
        cdef uint32_t i
        mg_hist_init(&h)
        total, h.min, h.max, h.overflow, held = state
        h.sum = total & 0xffffffffffffffff
        h.sum_high = total >> 64
        for i, n in held:
            if i >= MG_HIST_BUCKETS:
                raise ValueError("this was not pickled from a Histogram")
            h.bucket[i] = n
            h.count += h.bucket[i]
        if h.overflow > h.bucket[MG_HIST_BUCKETS - 1]:
            raise ValueError("this was not pickled from a Histogram")
        with cython.critical_section(self):
            self.h = h
