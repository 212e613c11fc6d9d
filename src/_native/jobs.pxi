# Jobs of a queue as bytes (docs/design/queue.md): most of a lease begin alike, and are told from others by comparing bytes.
__all__ += ["jobs_alike"]

cdef enum:
    JOB_ADDED = 3  # where 6 bytes say when it was added: milliseconds, big-endian
    JOB_TAIL = 9  # where what comes behind that begins


def jobs_alike(list frames not None, Py_ssize_t at, bytes tail not None, object batch, object like,
               list entries not None, Histogram waited not None, double clock):
    """Appends ``(batch, index, like, payload, frame)`` to ``entries`` for the jobs from ``at`` on that have not been tried
    and go on with ``tail`` at byte 9, behind which their payload begins. How long each has waited at ``clock`` (milliseconds
    since 1970) is counted. Gives the index of the first that is different, or how many there are."""
    cdef Py_ssize_t i, k, size = PyBytes_GET_SIZE(tail), start = JOB_TAIL + size
    cdef const unsigned char *p
    cdef uint64_t added
    cdef bytes frame
    for i in range(at, len(frames)):
        frame = <bytes?>frames[i]
        p = <const unsigned char *>PyBytes_AS_STRING(frame)
        if (
            PyBytes_GET_SIZE(frame) < start
            or p[0] != 1 or p[1] != 0 or p[2] != 0
            or memcmp(p + JOB_TAIL, PyBytes_AS_STRING(tail), size) != 0
        ):
            return i
        added = 0
        for k in range(JOB_ADDED, JOB_TAIL):
            added = added << 8 | p[k]
        waited.count_seconds(max(0.0, (clock - <double>added) / 1000.0))
        entries.append((batch, i, like, PyBytes_FromStringAndSize(<const char *>p + start, PyBytes_GET_SIZE(frame) - start),
                        frame))
    return len(frames)
