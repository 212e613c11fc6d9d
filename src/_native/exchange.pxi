# Exchange: whose reply is it, for one connection that all tasks of an event loop share. mailgenius.link.aio gives it a socket.
#
# What a call costs here decides how fast a client of Redis is. So a request is one object, which is what its task awaits; and
# when replies arrive, the tasks go on at once, within the call that brought them. A Future would have asyncio make a handle
# for each and come to it in the next turn of the loop, which costs more than all the rest.
from asyncio import CancelledError, InvalidStateError, current_task
from asyncio.events import _get_running_loop
from contextvars import copy_context

cdef extern from "Python.h":
    int PyContext_Enter(object context) except -1
    int PyContext_Exit(object context) except -1
    void PyErr_SetObject(object type, object value)
    ctypedef struct PyTypeObject:
        PyObject *(*tp_iternext)(PyObject *) noexcept

__all__ += ["Exchange", "Reply", "Turn", "deliver"]

cdef enum:
    WAITING, ANSWERED, FAILED, CANCELLED

cdef enum:
    EXCHANGE_PIECE = 50  # commands that are written at once while tasks go on, so that the server works meanwhile


@cython.final
@cython.auto_pickle(False)
cdef class Turn:
    """What is written together."""
    cdef readonly double since  # when the loop came to it, of the monotonic clock; 0: it has not yet
    cdef readonly double shortest  # seconds of the most impatient request
    cdef readonly bint sent

    def __cinit__(self):
        self.shortest = INFINITE


@cython.final
@cython.freelist(128)
@cython.auto_pickle(False)
cdef class Reply:
    """What a request awaits. It is to asyncio what a Future is: ``done``, ``cancel``, ``add_done_callback``, ``result``.
    ``Reply(loop)`` is one that ``deliver`` ends."""
    cdef public object _asyncio_future_blocking
    cdef readonly Turn turn
    cdef readonly double timeout
    cdef object loop
    cdef object value
    cdef list parts  # of a request of several commands
    cdef Py_ssize_t count
    cdef int state
    cdef object callback, context
    cdef list more  # further callbacks

    def __init__(self, loop):
        self._asyncio_future_blocking = False
        self.loop = loop

    def get_loop(self):
        return self.loop

    def done(self):
        return self.state != WAITING

    def cancelled(self):
        return self.state == CANCELLED

    def result(self):
        if self.state == ANSWERED:
            return self.value
        if self.state == FAILED:
            raise self.value
        if self.state == CANCELLED:
            raise CancelledError
        raise InvalidStateError("there is no reply yet")

    def exception(self):
        if self.state == FAILED:
            return self.value
        self.result()

    def cancel(self, msg=None):
        """Nobody waits for it any more. The reply, when it comes, is thrown away."""
        if self.state != WAITING:
            return False
        self.state = CANCELLED
        self.later()
        return True

    def fail(self, error):
        """Ends the waiting with an error, if it has not ended."""
        if self.state == WAITING:
            self.state, self.value = FAILED, error
            self.later()

    def add_done_callback(self, callback, *, context=None):
        if context is None:
            context = copy_context()
        if self.state != WAITING:
            self.loop.call_soon(callback, self, context=context)
        elif self.callback is None:
            self.callback, self.context = callback, context
        elif self.more is None:
            self.more = [(callback, context)]
        else:
            self.more.append((callback, context))

    def remove_done_callback(self, callback):
        found = [] if self.callback is None else [(self.callback, self.context), *(self.more or ())]
        kept = [pair for pair in found if pair[0] != callback]
        self.callback = self.context = self.more = None
        for one, context in kept:
            self.add_done_callback(one, context=context)
        return len(found) - len(kept)

    def __await__(self):
        return self

    def __next__(self):  # see reply_next
        if self.state == WAITING:
            self._asyncio_future_blocking = True
            return self
        raise StopIteration(self.result())

    cdef int later(self) except -1:
        """Has the loop call those who wait, in its next turn."""
        cdef object callback = self.callback, context = self.context
        cdef list more = self.more
        self.callback = self.context = self.more = None
        if callback is not None:
            self.loop.call_soon(callback, self, context=context)
        if more is not None:
            for callback, context in more:
                self.loop.call_soon(callback, self, context=context)
        return 0

    cdef int now(self) except -1:
        """Calls who waits, at once."""
        cdef object callback = self.callback, context = self.context
        if callback is None or self.more is not None:
            return self.later()
        self.callback = self.context = None
        try:
            PyContext_Enter(context)
        except RuntimeError:  # our own caller is in it
            self.loop.call_soon(callback, self, context=context)
            return 0
        try:
            callback(self)
        except Exception as error:
            self.loop.call_exception_handler({"message": "a callback failed", "exception": error, "future": self})
        finally:
            PyContext_Exit(context)
        return 0


cdef PyObject *reply_next(PyObject *it) noexcept:
    # ``Reply.__next__`` as asyncio's own futures have it: without an exception object for each value.
    cdef Reply self = <Reply>it
    cdef object value = self.value
    if self.state == WAITING:
        self._asyncio_future_blocking = True
        Py_INCREF(self)
        return it
    if self.state == FAILED:
        PyErr_SetObject(type(value), value)
    elif self.state == CANCELLED:
        PyErr_SetObject(CancelledError, CancelledError())
    elif isinstance(value, (tuple, BaseException)):
        PyErr_SetObject(StopIteration, StopIteration(value))
    else:
        PyErr_SetObject(StopIteration, value)
    return NULL


(<PyTypeObject *>Reply).tp_iternext = reply_next


def deliver(list replies not None, list values not None):
    """Ends the waiting for each with its value; the tasks go on at once. For callbacks of the loop: in a task, no other
    one can go on."""
    cdef Reply reply
    if len(values) != len(replies):
        raise ValueError(f"{len(values)} values for {len(replies)} replies")
    for reply, value in zip(replies, values):
        if reply.state == WAITING:
            reply.value, reply.state = value, ANSWERED
            reply.now()


@cython.auto_pickle(False)
cdef class Exchange:
    """Requests and their replies, in order.

    A subclass writes what ``leaving`` gives to a socket, when ``_flush`` is called, and receives into ``get_buffer`` what
    ``buffer_updated`` is told of. Its ``_refused(error)`` is told of the server's refusals, ``_pushed(push)`` of what it
    sends unasked, ``lose(why)`` of its faults; ``_shed(why)`` and ``_too_late()`` raise what callers get when there is no
    room, or no connection any more.
    """
    cdef readonly object loop
    cdef public bint closed
    cdef public int protocol  # 0 until it was greeted
    cdef public object on_push, empty  # empty: a future of who waits for the last reply
    cdef readonly double heard  # when something came, of the monotonic clock
    cdef object refusal, push
    cdef RespReader reader
    cdef Histogram latency
    cdef list asked  # who waits for replies, from ``first`` on
    cdef Py_ssize_t first, max_pending, max_bytes
    cdef list out
    cdef readonly Py_ssize_t size  # bytes of ``out``
    cdef Py_ssize_t commands  # of this turn
    cdef Turn turn
    cdef list ready  # turns that are complete, and not written yet
    cdef bint scheduled, within

    def __init__(self, loop, RespReader reader not None, Histogram latency not None, Py_ssize_t max_pending,
                 Py_ssize_t max_bytes):
        self.loop, self.reader, self.latency = loop, reader, latency
        self.refusal, self.push = reader.error, reader.push
        self.max_pending, self.max_bytes = max_pending, max_bytes
        self.asked, self.out, self.ready, self.turn = [], [], [], Turn()

    @property
    def pending(self):
        """Requests that wait for their replies."""
        return len(self.asked) - self.first

    def waiting(self):
        """Those requests."""
        return self.asked[self.first:]

    def forget(self):
        """Nobody waits any more, and nothing is to be written."""
        self.asked, self.first = [], 0
        self.out, self.size = [], 0

    # -- requests ------------------------------------------------------------------------------------------------

    def one(self, bytes packed not None, double timeout):
        """The reply to one command. Raises, when awaited, ``RedisRefused``, ``RedisTimeout`` or ``Lost``."""
        return self.request(packed, timeout, None, 1)

    def many(self, bytes packed not None, Py_ssize_t count, double timeout):
        """The replies to ``count`` commands; refusals are among them, as exceptions."""
        return self.request(packed, timeout, [], count)

    def post(self, bytes packed not None):
        """Sends what has no reply of its own, such as SUBSCRIBE."""
        self.append(packed, 1)

    cdef Reply request(self, bytes packed, double timeout, list parts, Py_ssize_t count):
        cdef Reply reply
        if len(self.asked) - self.first >= self.max_pending:
            self._shed(f"{len(self.asked) - self.first:,} requests wait for their replies ($.redis.max_pending)")
        self.append(packed, count)
        if timeout < self.turn.shortest:
            self.turn.shortest = timeout
        reply = Reply.__new__(Reply)
        reply._asyncio_future_blocking = False
        reply.loop, reply.turn, reply.timeout, reply.parts, reply.count = self.loop, self.turn, timeout, parts, count
        self.asked.append(reply)
        return reply

    cdef int append(self, bytes packed, Py_ssize_t count) except -1:
        cdef Py_ssize_t more = PyBytes_GET_SIZE(packed)
        if self.closed:
            self._too_late()
        if _get_running_loop() is not self.loop:
            raise RuntimeError("this AsyncRedis is used in another event loop already; make one for each loop")
        if self.size and self.size + more > self.max_bytes:
            self._shed(f"{self.size:,} bytes wait to be written ($.redis.max_pending_bytes)")
        self.size += more
        self.commands += count
        self.out.append(packed)
        if not self.scheduled and not self.within:
            self.loop.call_soon(self._flush)
            self.scheduled = True
        return 0

    def turned(self, double now):
        """Ends the turn; seconds of its most impatient request, and how many commands it has."""
        cdef Turn turn = self.turn
        cdef Py_ssize_t commands = self.commands
        self.turn, self.commands, self.scheduled = Turn(), 0, False
        turn.since = now
        self.ready.append(turn)
        return turn.shortest, commands

    def leaving(self):
        """What is to be written now."""
        cdef list out = self.out
        cdef Turn turn
        for turn in self.ready:
            turn.sent = True
        self.ready.clear()
        self.out, self.size = [], 0
        return out[0] if len(out) == 1 else b"".join(out)

    # -- replies -------------------------------------------------------------------------------------------------

    def get_buffer(self, sizehint):
        return self.reader.room()

    def buffer_updated(self, Py_ssize_t count):
        cdef list done = []
        cdef Reply reply
        cdef double now = seconds_since(0.0)
        cdef object value, kind, why = None
        if self.closed:
            return
        self.heard = now
        try:
            self.reader.filled(count)
            while not self.closed:
                value = self.reader.next()
                if value is self.reader.not_yet:
                    break
                kind = type(value)
                if kind is self.push or (
                    # RESP2 has no other way to bring messages than replies that nobody asked for.
                    self.first == len(self.asked) and self.on_push is not None and self.protocol != 3
                ):
                    self._pushed(value)
                    continue
                reply = <Reply>self.asked[self.first] if self.first < len(self.asked) else None
                if reply is None or not reply.turn.sent:
                    why = "it sent a reply that nobody asked for"
                    break
                if kind is self.refusal and self.protocol:
                    self._refused(value)
                if reply.parts is not None:
                    reply.parts.append(value)
                    if len(reply.parts) < reply.count:
                        continue
                    value, kind = reply.parts, None
                self.first += 1
                self.latency.count_seconds(now - reply.turn.since)
                if reply.state == WAITING:
                    reply.value, reply.state = value, FAILED if kind is self.refusal else ANSWERED
                    done.append(reply)
        except Exception as error:
            why = f"it sent what is not RESP: {error}"
        if self.first == len(self.asked):
            self.asked.clear()
            self.first = 0
        elif self.first > 128:
            del self.asked[:self.first]
            self.first = 0
        if why is not None:
            self.lose(why)
        self.wake(done)
        if self.empty is not None and self.first == len(self.asked) and not self.empty.done():
            self.empty.set_result(None)

    cdef int wake(self, list done) except -1:
        """The tasks go on now. What they ask for next leaves when all have done so."""
        cdef Py_ssize_t at = 0
        cdef Reply reply
        if current_task(self.loop) is not None:  # no place to run another one
            for reply in done:
                reply.later()
            return 0
        self.within = True
        try:
            for reply in done:
                at += 1
                reply.now()
                if self.commands >= EXCHANGE_PIECE:
                    self._flush()
        finally:  # even at KeyboardInterrupt
            self.within = False
            for reply in done[at:]:
                reply.later()
            if self.out:
                self._flush()
        return 0
