"""Many addresses at once: ``validate_emails`` and the arrays it returns."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from mailgenius._native import REASONS, AddressColumn, address_list, address_list_open
from mailgenius.address.check import EmailCheck, options_of
from mailgenius.address.idn import resolver
from mailgenius.address.lists import current
from mailgenius.address.suggest import suggest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray


class EmailChecks:
    """Verdicts of many addresses, as arrays of one length. ``checks[i]`` is an ``EmailCheck``.

    ``valid`` and ``reason`` are there at once; what is below them is worked out when first asked for, over the whole
    batch, and kept.
    """

    reasons: tuple[str, ...] = REASONS
    """What the numbers of ``reason`` mean. Numbers may differ between versions of mailgenius, codes do not."""

    def __init__(self, source: list[Any] | AddressColumn, reason: NDArray[np.uint8], options: int) -> None:
        self._source = source
        self._options = options
        self.reason = reason
        """uint8: index into ``reasons``; 0 is "ok"."""
        self.valid: NDArray[np.bool_] = reason == 0
        """bool: one can send to it, as far as its form tells."""

    def __len__(self) -> int:
        return len(self.reason)

    def __getitem__(self, index: int) -> EmailCheck:
        number = range(len(self))[index]
        address = _text(self._source[number])
        code = int(self.reason[number])
        return EmailCheck(address, code == 0, REASONS[code], None if code else self._normal(address))

    def __iter__(self) -> Iterator[EmailCheck]:
        return (self[number] for number in range(len(self)))

    def __repr__(self) -> str:
        return f"<EmailChecks: {int(self.valid.sum()):,} of {len(self):,} valid>"

    def counts(self) -> dict[str, int]:
        """How many addresses have each reason, the commonest first; "ok" included."""
        found = np.bincount(self.reason, minlength=len(REASONS))
        return {REASONS[i]: int(found[i]) for i in np.argsort(-found, kind="stable") if found[i]}

    @cached_property
    def normalized(self) -> NDArray[np.object_]:
        """object (str or None): lower case, normal form C, the domain as A-labels. None if not valid."""
        result = np.full(len(self), None, dtype=object)
        source, normal = self._source, self._normal
        for number in np.flatnonzero(self.valid).tolist():
            result[number] = normal(_text(source[number]))
        return result

    @cached_property
    def suggestion(self) -> NDArray[np.object_]:
        """object (str or None): the address that was probably meant, as in ``EmailCheck.suggestion``."""
        result = np.full(len(self), None, dtype=object)
        for number, normalized in enumerate(self.normalized.tolist()):
            result[number] = suggest("" if normalized is not None else _text(self._source[number]), normalized)
        return result

    @cached_property
    def role(self) -> NDArray[np.bool_]:
        """bool: the address belongs to a function, as in ``EmailCheck.role``."""
        return self._flags(current().is_role)

    @cached_property
    def disposable(self) -> NDArray[np.bool_]:
        """bool: its domain hands out throw-away addresses."""
        return self._flags(current().is_disposable)

    @cached_property
    def free(self) -> NDArray[np.bool_]:
        """bool: its domain is a public mailbox provider."""
        return self._flags(current().is_free)

    def _normal(self, address: str) -> str:
        """The normal form of an address that was found good."""
        if address.isascii():
            return address.lower()
        result = resolver.resolve_open(address, self._options)
        return result if isinstance(result, str) else ""  # never: it was good

    def _flags(self, test: Any) -> NDArray[np.bool_]:
        flags = (address is not None and test(address) for address in self.normalized.tolist())
        return np.fromiter(flags, dtype=np.bool_, count=len(self))


def _text(value: Any) -> str:
    """An entry of a list or column as str; what is not UTF-8 shows as U+FFFD."""
    if isinstance(value, str):
        return value
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else ""


def _listed(addresses: Any) -> list[Any]:
    if isinstance(addresses, str | bytes):
        raise TypeError("validate_emails takes many addresses; for one, call validate_email")
    dtype = getattr(addresses, "dtype", None)
    if dtype is not None and hasattr(addresses, "tolist"):
        if getattr(addresses, "ndim", 1) != 1:
            raise ValueError(f"one column of addresses was expected, not an array of {addresses.ndim} dimensions")
        return addresses.tolist()  # type: ignore[no-any-return]
    return addresses if isinstance(addresses, list) else list(addresses)


def validate_emails(
    addresses: Iterable[str | None] | Any, *, allow_quoted: bool = False, allow_special_use: bool = False
) -> EmailChecks:
    """``validate_email`` for many addresses, 25 million a second and more for ASCII ones.

    ``addresses``: a list or other iterable of str; a numpy array of strings (object, U, S, StringDType); or one column
    of any Arrow library (pyarrow, polars, duckdb, pandas with pyarrow …), read through the PyCapsule interface without
    a copy. bytes count as UTF-8. None, NaN and Arrow's null are ``email.empty``.
    Options as in ``validate_email``. Raises TypeError for entries or columns of another type.
    """
    options = options_of(allow_quoted, allow_special_use)
    source: list[Any] | AddressColumn
    if hasattr(addresses, "__arrow_c_stream__") or hasattr(addresses, "__arrow_c_array__"):
        try:
            source = AddressColumn(addresses)
        except ImportError:  # pandas without pyarrow offers the interface but cannot keep the promise
            source = _listed(addresses)
    else:
        source = _listed(addresses)
    reason = np.empty(len(source), dtype=np.uint8)
    if isinstance(source, list):
        source = address_list(source, options, reason, True) or source
        rest = address_list_open(source, resolver.known, options, reason)
    else:
        source.check(options, reason)
        rest = source.open(resolver.known, options, reason)
    for number in rest:  # domains met for the first time, rare scripts, and what is wrong
        reason[number] = _number(source[number], options)
    return EmailChecks(source, reason, options)


def _number(value: str | bytes | None, options: int) -> int:
    result = (
        resolver.resolve_open(value, options) if isinstance(value, str) else resolver.resolve(value or b"", options)
    )
    return result if isinstance(result, int) else 0
