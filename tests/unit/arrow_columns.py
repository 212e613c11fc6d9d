"""Arrow columns made with ctypes alone, handed over as an Arrow library would, so that no such library is needed."""

from __future__ import annotations

import ctypes
import struct
from array import array
from ctypes import POINTER, c_char_p, c_int, c_int64, c_void_p
from typing import Any, ClassVar


class Schema(ctypes.Structure):
    pass


class Array(ctypes.Structure):
    pass


class Stream(ctypes.Structure):
    pass


SchemaRelease = ctypes.CFUNCTYPE(None, POINTER(Schema))
ArrayRelease = ctypes.CFUNCTYPE(None, POINTER(Array))
StreamRelease = ctypes.CFUNCTYPE(None, POINTER(Stream))
GetSchema = ctypes.CFUNCTYPE(c_int, POINTER(Stream), POINTER(Schema))
GetNext = ctypes.CFUNCTYPE(c_int, POINTER(Stream), POINTER(Array))
LastError = ctypes.CFUNCTYPE(c_void_p, POINTER(Stream))

Schema._fields_ = [
    ("format", c_char_p), ("name", c_char_p), ("metadata", c_void_p), ("flags", c_int64), ("n_children", c_int64),
    ("children", c_void_p), ("dictionary", POINTER(Schema)), ("release", SchemaRelease), ("private_data", c_void_p),
]  # fmt: skip
Array._fields_ = [
    ("length", c_int64), ("null_count", c_int64), ("offset", c_int64), ("n_buffers", c_int64), ("n_children", c_int64),
    ("buffers", POINTER(c_void_p)), ("children", c_void_p), ("dictionary", POINTER(Array)), ("release", ArrayRelease),
    ("private_data", c_void_p),
]  # fmt: skip
Stream._fields_ = [
    ("get_schema", GetSchema), ("get_next", GetNext), ("get_last_error", LastError), ("release", StreamRelease),
    ("private_data", c_void_p),
]  # fmt: skip

new_capsule = ctypes.pythonapi.PyCapsule_New
new_capsule.restype = ctypes.py_object
new_capsule.argtypes = [c_void_p, c_char_p, c_void_p]


class Column:
    """``chunks`` of str, bytes or None as Arrow arrays of one format; the first ``skip`` of each chunk are hidden.

    With a ``dictionary`` the chunks hold indices into it; ``words`` is its format.
    ``released`` counts the arrays given back.
    """

    words = "u"
    alive: ClassVar[list[Column]] = []  # what others hold pointers into

    def __init__(self, kind: str, *chunks: list[Any], skip: int = 0, dictionary: list[Any] | None = None) -> None:
        self.kind, self.chunks, self.skip, self.dictionary = kind, chunks, skip, dictionary
        self.keep: list[Any] = []
        self.released = 0
        self.error: bytes | None = None
        self.alive.append(self)

    def _buffers(self, kind: str, values: list[Any]) -> list[bytes | None]:
        texts = [value.encode() if isinstance(value, str) else value or b"" for value in values]
        if kind in {"u", "z", "U", "Z"}:
            ends = [0]
            for text in texts:
                ends.append(ends[-1] + len(text))
            return [array("q" if kind in "UZ" else "i", ends).tobytes(), b"".join(texts) or None]
        if kind in {"vu", "vz"}:
            views, pool = b"", b""
            for text in texts:
                if len(text) <= 12:
                    views += struct.pack("<i12s", len(text), text)
                else:
                    views += struct.pack("<i4sii", len(text), text[:4], 0, len(pool))
                    pool += text
            return [views, pool or b"\0", struct.pack("<q", len(pool))]
        if kind == "n":
            return []
        return [array({"c": "b", "C": "B", "s": "h", "S": "H", "l": "q", "L": "Q"}.get(kind, kind),
                      [value or 0 for value in values]).tobytes()]  # fmt: skip

    def _array(self, into: Array, kind: str, values: list[Any]) -> None:
        bits = bytearray((len(values) + 7) // 8)
        for i, value in enumerate(values):
            if value is not None:
                bits[i // 8] |= 1 << i % 8
        nulls = sum(value is None for value in values)
        buffers = [bytes(bits) if nulls else None, *self._buffers(kind, values)] if kind != "n" else []
        held = [ctypes.create_string_buffer(data, len(data)) if data is not None else None for data in buffers]
        pointers = (c_void_p * max(len(held), 1))(*[ctypes.addressof(h) if h is not None else None for h in held])
        hidden = min(self.skip, len(values))
        into.length, into.offset = len(values) - hidden, hidden
        into.null_count = -1 if nulls else 0
        into.n_buffers, into.n_children = len(held), 0
        into.buffers = ctypes.cast(pointers, POINTER(c_void_p))

        def release(given: Any) -> None:
            self.released += 1
            given.contents.release = ArrayRelease()

        into.release = ArrayRelease(release)
        self.keep += [held, pointers, into.release]

    def _fill_array(self, into: Array, values: list[Any]) -> None:
        self._array(into, self.kind, values)
        if self.dictionary is not None:
            words, skip = Array(), self.skip
            self.skip = 0
            self._array(words, self.words, self.dictionary)
            self.skip = skip
            into.dictionary = ctypes.pointer(words)
            self.keep.append(words)

    def _fill_schema(self, into: Schema, kind: str) -> None:
        into.format, into.name, into.flags = kind.encode(), b"email", 2

        def release(given: Any) -> None:
            given.contents.release = SchemaRelease()

        into.release = SchemaRelease(release)
        self.keep.append(into.release)
        if self.dictionary is not None and kind == self.kind:
            words = Schema()
            self._fill_schema(words, self.words)
            into.dictionary = ctypes.pointer(words)
            self.keep.append(words)

    def _capsule(self, struct_: Any, name: bytes) -> Any:
        self.keep += [struct_, name]
        return new_capsule(ctypes.addressof(struct_), name, None)


class OneArray(Column):
    def __arrow_c_array__(self, requested_schema: object = None) -> tuple[Any, Any]:
        schema, values = Schema(), Array()
        self._fill_schema(schema, self.kind)
        self._fill_array(values, self.chunks[0])
        return self._capsule(schema, b"arrow_schema"), self._capsule(values, b"arrow_array")


class ManyArrays(Column):
    def __arrow_c_stream__(self, requested_schema: object = None) -> Any:
        stream, rest = Stream(), iter(self.chunks)

        def get_schema(_: Any, into: Any) -> int:
            self._fill_schema(into.contents, self.kind)
            return 0

        def get_next(_: Any, into: Any) -> int:
            chunk = next(rest, None)
            if chunk is None:
                if self.error:
                    return 5
                into.contents.release = ArrayRelease()
            else:
                self._fill_array(into.contents, chunk)
            return 0

        text = ctypes.create_string_buffer(self.error or b"")
        stream.get_schema, stream.get_next = GetSchema(get_schema), GetNext(get_next)
        stream.get_last_error = LastError(lambda _: ctypes.addressof(text))
        stream.release = StreamRelease(lambda _: None)
        self.keep += [text, stream.get_schema, stream.get_next, stream.get_last_error, stream.release]
        return self._capsule(stream, b"arrow_array_stream")
