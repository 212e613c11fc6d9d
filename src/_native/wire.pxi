# RESP, the protocol of Redis: commands as the bytes that go to the server. Arguments are Python objects and each is read
# once, so there is nothing left for a kernel to do. Replies: resp.pxi.
from cpython.bytes cimport PyBytes_FromObject
from cpython.tuple cimport PyTuple_GET_ITEM, PyTuple_GET_SIZE

cdef extern from "Python.h":
    const char *PyUnicode_AsUTF8AndSize(object text, Py_ssize_t *size) except NULL
    long long PyLong_AsLongLongAndOverflow(object number, int *overflow) except? -1
    int PyObject_CheckBuffer(object value)

cdef extern from "mg.h" nogil:
    uint16_t mg_key_slot(const uint8_t *key, size_t n) noexcept

__all__ += ["as_commands", "key_slot", "pack_command", "pack_commands"]


cdef inline Py_ssize_t digits(unsigned long long n) noexcept:
    cdef Py_ssize_t count = 1
    while n >= 10:
        n //= 10
        count += 1
    return count


cdef inline char *put_digits(char *at, unsigned long long n, Py_ssize_t count) noexcept:
    cdef char *end = at + count
    cdef char *p = end
    while p > at:
        p -= 1
        p[0] = <char>(48 + n % 10)
        n //= 10
    return end


cdef inline char *put_head(char *at, char kind, Py_ssize_t n) noexcept:
    at[0] = kind
    at = put_digits(at + 1, <unsigned long long>n, digits(<unsigned long long>n))
    at[0] = 13
    at[1] = 10
    return at + 2


cdef bytes argument(object value):
    """The bytes of an argument that is neither bytes nor str nor a small int."""
    if isinstance(value, bool):
        raise TypeError("a Redis command takes str, bytes, int, float or a buffer; give 1 or 0 instead of a bool")
    if isinstance(value, int):
        return str(int(value)).encode()
    if isinstance(value, float):
        return repr(float(value)).encode()
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, bytes):
        return bytes(value)
    if PyObject_CheckBuffer(value):
        return PyBytes_FromObject(value)
    raise TypeError(f"a Redis command takes str, bytes, int, float or a buffer, not {type(value).__name__}")


cdef bytes word_at(tuple command, Py_ssize_t i):
    """The same of one word of a command. Errors say which it is, counted from 1."""
    try:
        return argument(command[i])
    except TypeError as error:
        name = command[0]
        if isinstance(name, bytes):
            name = name.decode("ascii", "replace")
        of = f" of {name[:40]}" if i and isinstance(name, str) else ""
        raise TypeError(f"word {i + 1}{of}: {error}") from None


cdef inline Py_ssize_t keep(list made, bytes argument) except -1:
    made.append(argument)
    return PyBytes_GET_SIZE(argument)


cdef Py_ssize_t measure(tuple command, list made) except -1:
    """How many bytes it takes. ``made`` gets the bytes of the arguments that had to be made, in order."""
    cdef Py_ssize_t n = PyTuple_GET_SIZE(command), total, size, i
    cdef object value
    cdef long long number
    cdef int overflow = 0
    if n == 0:
        raise ValueError("an empty Redis command: give its name and its arguments")
    total = 3 + digits(<unsigned long long>n)
    for i in range(n):
        value = <object>PyTuple_GET_ITEM(command, i)
        if type(value) is bytes:
            size = PyBytes_GET_SIZE(value)
        elif type(value) is str:
            PyUnicode_AsUTF8AndSize(value, &size)
        elif type(value) is int:
            number = PyLong_AsLongLongAndOverflow(value, &overflow)
            if overflow:
                size = keep(made, word_at(command, i))
            elif number < 0:
                size = 1 + digits(<unsigned long long>0 - <unsigned long long>number)
            else:
                size = digits(<unsigned long long>number)
        else:
            size = keep(made, word_at(command, i))
        total += 5 + digits(<unsigned long long>size) + size
    return total


cdef char *put(char *at, tuple command, list made, Py_ssize_t *taken) except NULL:
    """Writes what ``measure`` measured; ``taken``: how many of ``made`` are used up."""
    cdef Py_ssize_t n = PyTuple_GET_SIZE(command), size, i
    cdef object value
    cdef const char *data
    cdef long long number
    cdef unsigned long long positive
    cdef int overflow = 0
    at = put_head(at, 42, n)
    for i in range(n):
        value = <object>PyTuple_GET_ITEM(command, i)
        if type(value) is bytes:
            data, size = PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value)
        elif type(value) is str:
            data = PyUnicode_AsUTF8AndSize(value, &size)
        else:
            if type(value) is int:
                number = PyLong_AsLongLongAndOverflow(value, &overflow)
                if not overflow:
                    positive = <unsigned long long>number
                    if number < 0:
                        positive = 0 - positive
                    size = digits(positive)
                    at = put_head(at, 36, size + (number < 0))
                    if number < 0:
                        at[0] = 45
                        at += 1
                    at = put_digits(at, positive, size)
                    at[0] = 13
                    at[1] = 10
                    at += 2
                    continue
            value = made[taken[0]]
            taken[0] += 1
            data, size = PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value)
        at = put_head(at, 36, size)
        memcpy(at, data, <size_t>size)
        at[size] = 13
        at[size + 1] = 10
        at += size + 2
    return at


def pack_command(tuple command not None):
    """One command, a tuple of its words, as RESP. TypeError for what is neither str, bytes, int, float nor a buffer,
    and says which word it is; ValueError for no words at all."""
    cdef list made = []
    cdef Py_ssize_t taken = 0
    cdef bytes out = PyBytes_FromStringAndSize(NULL, measure(command, made))
    put(PyBytes_AS_STRING(out), command, made, &taken)
    return out


def as_commands(commands):
    """A list of the commands as tuples. ValueError for one without words, TypeError for what is no sequence of words; both
    say which it is, counted from 1."""
    cdef list made = []
    for command in commands:
        if type(command) is not tuple:
            if isinstance(command, (str, bytes, bytearray, memoryview, dict, set)) or not hasattr(command, "__iter__"):
                raise TypeError(
                    f'command {len(made) + 1}: give the words of a Redis command in a tuple, ("GET", key), not'
                    f" {type(command).__name__}"
                )
            command = tuple(command)
        if PyTuple_GET_SIZE(command) == 0:
            raise ValueError(f"command {len(made) + 1}: an empty Redis command: give its name and its arguments")
        made.append(command)
    return made


def pack_commands(commands):
    """Many commands, each a sequence of its words, as one piece of RESP. Errors as of ``pack_command``, with the
    command's place."""
    cdef list made = []
    cdef list all_of_them = as_commands(commands)
    cdef Py_ssize_t taken = 0, total = 0, at_command = 0
    try:
        for command in all_of_them:
            at_command += 1
            total += measure(<tuple>command, made)
    except TypeError as error:
        raise TypeError(f"command {at_command}, {error}") from None
    cdef bytes out = PyBytes_FromStringAndSize(NULL, total)
    cdef char *at = PyBytes_AS_STRING(out)
    for command in all_of_them:
        at = put(at, <tuple>command, made, &taken)
    return out


def key_slot(key):
    """The slot of a key in Redis Cluster, 0 to 16383. TypeError as of ``pack_command``."""
    cdef Py_ssize_t size
    cdef const char *data
    cdef bytes made
    if type(key) is str:
        data = PyUnicode_AsUTF8AndSize(key, &size)
    else:
        made = key if type(key) is bytes else argument(key)
        data, size = PyBytes_AS_STRING(made), PyBytes_GET_SIZE(made)
    return mg_key_slot(<const uint8_t *>data, <size_t>size)
