# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: binding=True, embedsignature=True, freethreading_compatible=True
"""The compiled core: thin bindings over plain C kernels (src/_native/kernels/mg.h).

Each binding unwraps its arguments, releases the GIL once, makes one kernel call for a whole batch, checks the status
and wraps the result. What the functions take and return is typed in ``_native.pyi``.
"""
from cpython.buffer cimport PyBUF_CONTIG_RO, PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from kernels cimport *

__all__ = []


cdef int check(mg_status status) except -1:
    """Turns a kernel's status into an exception; MG_OK, MG_FULL, MG_NEED_MORE and MG_DONE are answers, not errors."""
    if status == MG_NOMEM:
        raise MemoryError("mailgenius: out of memory in the compiled core")
    if status == MG_CORRUPT:
        raise RuntimeError("mailgenius: damaged record in a spill file or buffer; import the file again")
    return 0


include "isa.pxi"
include "csv.pxi"
include "text.pxi"
include "address.pxi"
include "seen.pxi"
include "histogram.pxi"
include "querystats.pxi"
include "names.pxi"
include "local.pxi"
include "envelope.pxi"
include "encode.pxi"
include "sort.pxi"
include "arrow.pxi"
include "wire.pxi"
include "resp.pxi"
include "exchange.pxi"
include "jobs.pxi"
