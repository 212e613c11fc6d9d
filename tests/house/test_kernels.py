"""Kernels know bytes and memory: what their object files ask of the system, and what they show to it."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house import tree

# All that kernels may call. Anything else (Python, files, clocks, threads, stdout, abort) is refused.
MEMORY = {"memcpy", "memmove", "memset", "memcmp", "memchr", "memrchr", "strlen", "strcmp", "strncmp"}
COMPILER = {"_GLOBAL_OFFSET_TABLE_", "__stack_chk_fail", "__cpu_model", "__cpu_indicator_init", "__cpu_features2"}
# Asked for by one file alone.
ALLOCATION = {"malloc", "calloc", "realloc", "free", "aligned_alloc", "posix_memalign", "madvise", "mmap", "munmap"}
ONLY = {
    "arena.c": ALLOCATION,
    "dispatch.c": {"getenv"},  # MG_ISA
}
# gcc's fortified forms (__memcpy_chk) and C23 forms (__isoc23_strtol) count as what they wrap.
WRAPPED = re.compile(r"^__(?:isoc\d\d_)?(\w+?)(?:_chk)?$")


def archive() -> Path:
    """The archive that the installed extension was linked with."""
    tag = f"cp{sys.version_info.major}{sys.version_info.minor}"
    archives = sorted((tree.ROOT / "build").glob(f"{tag}-*/libmg_kernels.a"), key=lambda path: path.stat().st_mtime)
    if not archives:
        pytest.fail("build/*/libmg_kernels.a is not there: run `make build` first")
    return archives[-1]


def ask(tool: str, *words: str) -> str:
    if shutil.which(tool) is None:
        pytest.fail(f"{tool} is not installed")
    return subprocess.run([tool, *words, archive()], check=True, capture_output=True, text=True).stdout


def objects() -> dict[str, list[tuple[str, str]]]:
    """kernel source -> (symbol kind, symbol name)."""
    listing = ask("nm", "-A", "-P")
    found: dict[str, list[tuple[str, str]]] = {}
    for line in listing.splitlines():
        where, symbol, kind = re.match(r".*\[(.+?)\]: (\S+) (\S)", line).groups()  # type: ignore[union-attr]
        found.setdefault(where.removesuffix(".o"), []).append((kind, symbol))
    assert found, "nm lists no symbols"
    return found


OBJECTS = objects()


def test_every_kernel_is_in_the_archive() -> None:
    sources = {path.name for path in (tree.NATIVE / "kernels").glob("*.c")}
    # (one for another processor is there without symbols)
    assert {name.removesuffix(".o") for name in ask("ar", "t").split()} == sources


def test_kernels_ask_only_for_memory() -> None:
    own = {symbol for symbols in OBJECTS.values() for kind, symbol in symbols if kind in "TDBRCVW"}
    bad = []
    for source, symbols in OBJECTS.items():
        for kind, symbol in symbols:
            if kind not in "Uwv" or symbol in own:
                continue
            wrapped = WRAPPED.match(symbol)
            plain = wrapped.group(1) if wrapped and symbol not in COMPILER else symbol
            if plain not in MEMORY | COMPILER | ONLY.get(source, set()):
                only = [file for file, names in ONLY.items() if plain in names]
                bad.append(f"kernels/{source} calls {symbol}" + (f", which only {only[0]} may" if only else ""))
    tree.report(bad)


def test_exported_symbols_have_our_prefix() -> None:
    tree.report(
        [
            f"kernels/{source} exports {symbol}: name it mg_… or make it static"
            for source, symbols in OBJECTS.items()
            for kind, symbol in symbols
            if kind in "TDBRCVW" and not symbol.startswith("mg_")
        ]
    )


def test_kernels_have_no_state_but_the_instruction_set() -> None:
    """Writable data would be shared by all threads without a lock; dispatch.c keeps its choice in an atomic."""
    tree.report(
        [
            f"kernels/{source} keeps writable data in {symbol}"
            for source, symbols in OBJECTS.items()
            if source != "dispatch.c"
            for kind, symbol in symbols
            if kind in "DdBbC"
        ]
    )


def test_kernels_include_only_what_they_may() -> None:
    allowed = {"stddef.h", "stdint.h", "string.h", "stdlib.h", "limits.h", "stdbool.h", "stdatomic.h", "cpuid.h"}
    allowed |= {"immintrin.h", "x86intrin.h", "arm_neon.h", "sys/auxv.h", "sys/mman.h"}
    tree.report(
        [
            f"{tree.name(path)} includes <{header}>"
            for path in tree.files("src/_native/kernels", suffixes={".c", ".h"})
            for header in re.findall(r"^\s*#\s*include\s*<([^>]+)>", path.read_text("utf-8"), re.M)
            if header not in allowed
        ]
    )
