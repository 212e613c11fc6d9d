"""E-mail validation: addresses a second, per instruction set, beside what else there is.

    python -m benchmarks.kernels.address

One million made-up addresses from a fixed seed, as in a customer's file: 95.5 % good ASCII ones of 24 bytes on average,
1.5 % good international ones (300 domains), 3 % bad ones of twenty kinds. One thread, median of three. The kernel's own
figures leave international addresses open, as it does; those of validate_emails include deciding them. Rivals that are
slow get a slice. polars and re take the HTML5 pattern, which is what most people use; polars collects a column of
booleans from a column of strings.
"""

from __future__ import annotations

import importlib.util
import random
import re
import sys
import time
from array import array
from itertools import accumulate
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from mailgenius import _native, validate_email, validate_emails

if TYPE_CHECKING:
    from collections.abc import Callable

COUNT = 1_000_000
TIMES = 3
HTML5 = (
    r"^[a-zA-Z0-9.!#$%&'*+/=?^_`{|}~-]+@[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
    r"(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)*$"
)
WORDS = {
    "names": "ana maria joao jose carlos paula lucas julia pedro luis sofia camila bruno rafael ann john mary peter li",
    "surnames": "silva santos garcia lopez souza lima costa perez gomez smith jones brown miller wilson martin rossi wang",
    "hosts": "empresa comercial loja acme grupo-norte tech mail example industria web data escola",
    "tops": "com com com com.br net org es mx io de info co.uk edu",
    "public": "gmail.com gmail.com gmail.com hotmail.com outlook.com yahoo.com yahoo.com.br uol.com.br icloud.com",
    "wide": "bücher café ação пример 例え",
}
NAMES, SURNAMES, HOSTS, TOPS, PUBLIC, WIDE = (words.split() for words in WORDS.values())
BAD = (
    "{n}", "{n}.{d}", "{n}@@{d}", "{n}@{d}@{d}", "{n} @{d}", " {n}@{d}", "{n}@{d} ", "{n}..x@{d}", ".{n}@{d}", "{n}.@{d}",
    "{n}@", "@{d}", "{n}@localhost", "{n}@{d}.", "{n}@.{d}", "{n}@-{d}", "{n}@{d}_x", "{n},x@{d}", "Ann <{n}@{d}>",
    "{n}@1.2.3.4",
)  # fmt: skip


def made(count: int = COUNT) -> tuple[list[str], list[bool]]:
    """(addresses, which of them are good)."""
    rnd = random.Random(20260101)
    wide = [f"{rnd.choice(WIDE)}{i}.{rnd.choice(TOPS)}" for i in range(300)]
    addresses, good = [], []
    for _ in range(count):
        name = f"{rnd.choice(NAMES)}{rnd.choice(['.', '_', '', '-'])}{rnd.choice(SURNAMES)}{rnd.randrange(1000) or ''}"
        domain = (
            rnd.choice(PUBLIC) if rnd.random() < 0.6 else f"{rnd.choice(HOSTS)}{rnd.randrange(99)}.{rnd.choice(TOPS)}"
        )
        draw = rnd.random()
        if draw < 0.03:
            address = rnd.choice(BAD).format(n=name, d=domain)
        elif draw < 0.045:
            address = f"{name}@{rnd.choice(wide)}" if draw < 0.04 else f"josé.{name}@{domain}"
        else:
            address = f"{name}@{domain}"
        addresses.append(address)
        good.append(draw >= 0.03)
    return addresses, good


def rate(run: Callable[[], object], count: int) -> float:
    """Addresses a second, the median of TIMES."""
    seconds = []
    for _ in range(TIMES):
        began = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - began)
    return count / median(seconds)


def ours(addresses: list[str], figures: dict[str, float]) -> None:
    ascii_only = [address for address in addresses if address.isascii()]
    out = np.empty(len(addresses), dtype=np.uint8)
    data = "".join(addresses).encode()
    ends = array("i", accumulate((len(address.encode()) for address in addresses), initial=0))
    norm = np.empty(len(data), dtype=np.uint8)
    before = _native.isa()
    for isa in _native.isas():
        _native.force_isa(isa)
        figures[f"kernel, list of str, {isa}"] = rate(lambda: _native.address_list(addresses, 0, out), len(addresses))
        figures[f"kernel, Arrow buffers, {isa}"] = rate(
            lambda: _native.address_offsets32(data, ends, 0, out), len(addresses)
        )
        figures[f"kernel, Arrow buffers, normalised too, {isa}"] = rate(
            lambda: _native.address_offsets32(data, ends, 0, out, norm), len(addresses)
        )
    _native.force_isa(before)
    figures["validate_emails, list of str"] = rate(lambda: validate_emails(addresses), len(addresses))
    figures["validate_emails, list of ASCII str"] = rate(lambda: validate_emails(ascii_only), len(ascii_only))
    few = addresses[:200_000]
    figures["validate_email, one by one"] = rate(lambda: [validate_email(address) for address in few], len(few))


def rivals(addresses: list[str], good: list[bool], figures: dict[str, float]) -> None:
    def note(name: str, run: Callable[[list[str]], list[bool]], count: int) -> None:
        part, truth = addresses[:count], good[:count]
        figures[name] = rate(lambda: run(part), count)
        said = run(part)
        bad = [verdict for verdict, right in zip(said, truth, strict=True) if not right]
        figures[f"{name}: share of the bad accepted"] = sum(bad) / len(bad)

    def raising(check: Callable[[str], Any]) -> Callable[[list[str]], list[bool]]:
        def accepts(address: str) -> bool:
            try:
                check(address)
            except Exception:  # each has its own
                return False
            return True

        return lambda part: [accepts(address) for address in part]

    note("validate_emails, list of str", lambda part: validate_emails(part).valid.tolist(), len(addresses))
    pattern = re.compile(HTML5)
    note("re, HTML5 pattern", lambda part: [pattern.match(address) is not None for address in part], 200_000)
    if importlib.util.find_spec("polars"):
        import polars as pl

        column = pl.Series("email", addresses)
        figures["validate_emails, polars column"] = rate(lambda: validate_emails(column), len(addresses))
        figures["polars, HTML5 pattern"] = rate(lambda: column.str.contains(HTML5), len(addresses))
        bad = column.filter(~pl.Series(good)).str.contains(HTML5)
        figures["polars, HTML5 pattern: share of the bad accepted"] = bad.sum() / len(bad)
    if importlib.util.find_spec("emval"):
        import emval

        checker = emval.EmailValidator(deliverable_address=False)
        note("emval", raising(checker.validate_email), 50_000)
    if importlib.util.find_spec("email_validator"):
        import email_validator

        note(
            "email-validator",
            raising(lambda address: email_validator.validate_email(address, check_deliverability=False)),
            5_000,
        )


def measure() -> dict[str, float]:
    addresses, good = made()
    figures: dict[str, float] = {}
    ours(addresses, figures)
    rivals(addresses, good, figures)
    return figures


def main() -> int:
    for name, value in measure().items():
        print(f"{name:<60} {value:>16,.3f}" if value < 10 else f"{name:<60} {value:>16,.0f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
