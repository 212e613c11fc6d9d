"""Values to bytes and back. What cannot be read is a miss with a reason, never an error and never a wrong value.

A value stands in an envelope (kernels/envelope.c) with what freshness needs and a checksum that covers the key, in one of
three forms: MessagePack or JSON of a type, or bytes as they are; None has none. zstd level 1 where it pays. The envelope
carries a fingerprint of the type (schema): what another version of the program stored is a miss.

Safe to share between threads: compressors, which are not, are lent to one at a time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeAlias

import msgspec
import zstandard

from mailgenius._native import Unsealer, seal, unseal

from .marks import LEASE, WRITERS
from .policy import Region
from .schema import fingerprint

__all__ = ["Codec", "Found", "Tags", "train"]

#: Tags of a value, each with the token that it had when the load began: another one now means that it was invalidated.
Tags: TypeAlias = tuple[tuple[str, bytes], ...]

NULL, ZSTD, TAGS = 1, 2, 4  # flags
SERIALIZERS: Final = {"raw": 0, "msgpack": 1, "json": 2}
MAX_EXPANDED = 64 << 20  # bytes: a value beyond is not read, and not compressed
MARKS = frozenset((LEASE, WRITERS))
SAVES = 8  # compressed is kept if it saves one part in so many
_encode_tags = msgspec.msgpack.Encoder().encode
_decode_tags = msgspec.msgpack.Decoder(Tags).decode
_NOT_READ = {1: "foreign", 2: "format", 3: "damaged"}


class Found(msgspec.Struct, frozen=True, gc=False):
    """A value as it was stored. Seconds: ``made`` since 1970, ``fresh`` after that, ``load`` what its load took."""

    value: Any
    made: float
    fresh: float
    load: float
    version: int
    tags: Tags = ()


class Codec:
    """One region's values. ``misses`` counts what was found and not taken, by reason: "foreign" (no envelope of ours),
    "format" (of another version), "damaged" (or another key's), "form" (another serializer or flag), "type" (another
    type's, or not of the type), "dictionary" (compressed with one that is not known here), "expansion" (not decompressible,
    or too large)."""

    def __init__(self, region: Region) -> None:
        self.misses: Counter[str] = Counter()
        self._serializer = SERIALIZERS[region.serializer]
        self._type = 0 if region.serializer == "raw" else fingerprint(region.type)
        self._encode: Callable[[Any], bytes] = _as_bytes
        self._decode: Callable[[bytes], Any] = bytes
        if region.serializer == "msgpack":
            self._encode, self._decode = msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder(region.type).decode
        elif region.serializer == "json":
            self._encode, self._decode = msgspec.json.Encoder().encode, msgspec.json.Decoder(region.type).decode
        #: For values that are as most are: plain, not compressed, without tags. For the others, ``decode``.
        self.plain = Unsealer(self._serializer, self._type, None if self._decode is bytes else self._decode)
        self._compress_from = MAX_EXPANDED if region.compress_from is None else region.compress_from
        self._dictionary = zstandard.ZstdCompressionDict(region.dictionary) if region.dictionary is not None else None
        known = [zstandard.ZstdCompressionDict(old) for old in region.old_dictionaries]
        known += [self._dictionary] if self._dictionary is not None else []
        self._dictionaries: dict[int, zstandard.ZstdCompressionDict | None] = {d.dict_id(): d for d in known}
        self._dictionaries[0] = None
        self._compressors: list[zstandard.ZstdCompressor] = []
        self._decompressors: dict[int, list[zstandard.ZstdDecompressor]] = {d: [] for d in self._dictionaries}

    def encode(
        self,
        name: str,
        value: Any,
        *,
        made: float,
        fresh: float,
        load: float = 0.0,
        version: int = 0,
        tags: Tags = (),
    ) -> bytes:
        """``value`` to be stored under ``name``. TypeError if it is not of a kind that can be stored."""
        if value is None:
            payload, flags = b"", NULL
        else:
            payload, flags = self._encode(value), 0
            if self._compress_from <= len(payload) < MAX_EXPANDED:
                smaller = self._compressed(payload)
                if len(smaller) <= len(payload) - len(payload) // SAVES:
                    payload, flags = smaller, ZSTD
        if tags:
            front = _encode_tags(tags)
            payload, flags = len(front).to_bytes(4, "little") + front + payload, flags | TAGS
        return seal(name, payload, flags, self._serializer, self._type, made, fresh, load, version)

    def decode(self, name: str, data: bytes) -> Found | None:
        """What is stored under ``name``. None: it is a mark, or cannot be taken, and ``misses`` says why."""
        read = unseal(name, data)
        if isinstance(read, int):
            if data[:2] not in MARKS:
                self.misses[_NOT_READ[read]] += 1
            return None
        payload, flags, serializer, kind, made, fresh, load, version = read
        if flags == 0 and serializer == self._serializer and kind == self._type:  # as most are
            try:
                return Found(self._decode(payload), made, fresh, load, version)
            except Exception:  # msgspec's own, and whatever a __post_init__ raises
                self.misses["type"] += 1
                return None
        found = self._read(read)
        if isinstance(found, str):
            self.misses[found] += 1
            return None
        return found

    def strange(self, name: str, data: bytes) -> bool:
        """It is no mark, and no envelope of this name that is whole."""
        return data[:2] not in MARKS and isinstance(unseal(name, data), int)

    def value(self, name: str, data: bytes) -> Any:
        """``decode`` for a flusher: ValueError with the reason. It counts anew, so this codec is nobody else's."""
        self.misses.clear()
        found = self.decode(name, data)
        if found is None:
            why = next(iter(self.misses), "a mark")
            raise ValueError(f"what is stored as {name!r} is no value of this region: {why}")
        return found.value

    def _read(self, read: tuple[bytes, int, int, int, float, float, float, int]) -> Found | str:
        payload, flags, serializer, kind, made, fresh, load, version = read
        if serializer != self._serializer or flags & ~(NULL | ZSTD | TAGS):
            return "form"
        if kind != self._type:
            return "type"
        tags: Tags = ()
        if flags:
            if flags & TAGS:
                end = 4 + int.from_bytes(payload[:4], "little")
                if end > len(payload):
                    return "form"
                try:
                    tags, payload = _decode_tags(payload[4:end]), payload[end:]
                except msgspec.DecodeError:
                    return "form"
            if flags & NULL:
                return Found(None, made, fresh, load, version, tags)
            if flags & ZSTD:
                try:
                    payload = self._expanded(payload)
                except KeyError:
                    return "dictionary"
                except zstandard.ZstdError:
                    return "expansion"
        try:
            value = self._decode(payload)
        except Exception:  # msgspec's own, and whatever a __post_init__ raises
            return "type"
        return Found(value, made, fresh, load, version, tags)

    def _compressed(self, payload: bytes) -> bytes:
        try:
            compressor = self._compressors.pop()
        except IndexError:
            compressor = zstandard.ZstdCompressor(level=1, dict_data=self._dictionary, write_checksum=False)
        smaller = compressor.compress(payload)
        self._compressors.append(compressor)
        return smaller

    def _expanded(self, payload: bytes) -> bytes:
        frame = zstandard.get_frame_parameters(payload)
        if frame.content_size > MAX_EXPANDED:  # also when it is not said
            raise zstandard.ZstdError("too large")
        free = self._decompressors[frame.dict_id]
        try:
            decompressor = free.pop()
        except IndexError:
            decompressor = zstandard.ZstdDecompressor(dict_data=self._dictionaries[frame.dict_id])
        expanded = decompressor.decompress(payload)
        free.append(decompressor)
        return expanded


def train(samples: Iterable[bytes], size: int = 16384) -> bytes:
    """A dictionary of up to ``size`` bytes for ``Region(dictionary=…)``, from some hundred values as they are encoded.

    ValueError if that is not enough to learn from."""
    try:
        return zstandard.train_dictionary(size, list(samples)).as_bytes()
    except zstandard.ZstdError as error:
        raise ValueError(f"no dictionary can be trained on these samples, give more of them: {error}") from None


def _as_bytes(value: Any) -> bytes:
    if type(value) is not bytes:
        raise TypeError(f'the values of a "raw" region are bytes, not {type(value).__name__}')
    return value
