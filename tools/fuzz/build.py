"""Compiles kernels and harnesses with sanitizers into build/fuzz; what has not changed is not compiled again."""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
KERNELS = ROOT / "src" / "_native" / "kernels"
OUT = ROOT / "build" / "fuzz"
FLAGS = [
    "-std=gnu11",
    "-g",
    "-O1",
    "-fno-omit-frame-pointer",
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=all",
]


def names() -> list[str]:
    """The harnesses there are."""
    return sorted(path.stem for path in HERE.glob("*.c"))


@functools.cache
def compiler() -> tuple[str, bool] | None:
    """(command, whether it is a clang that has libFuzzer); None: there is none, or it has no sanitizers."""
    for command in ("clang", "gcc", "cc"):
        path = shutil.which(command)
        if path is None:
            continue
        fuzzer = command == "clang"
        flags = [*FLAGS, "-fsanitize=fuzzer"] if fuzzer else FLAGS
        probe = "int LLVMFuzzerTestOneInput(const unsigned char *p, unsigned long n) { return p && n > 9; }"
        code = probe if fuzzer else "int main(void) { return 0; }"
        OUT.mkdir(parents=True, exist_ok=True)
        target = OUT / f"probe-{os.getpid()}"
        command_line = [path, *flags, "-x", "c", "-", "-o", str(target)]
        run = subprocess.run(command_line, input=code, text=True, capture_output=True)
        target.unlink(missing_ok=True)
        if run.returncode == 0:
            return path, fuzzer
    return None


def build(wanted: list[str]) -> dict[str, Path]:
    """Name -> program. RuntimeError with the compiler's words if something does not compile."""
    found = compiler()
    if found is None:
        raise RuntimeError("no C compiler with AddressSanitizer was found: install gcc with libasan, or clang")
    command, libfuzzer = found
    flags = [*FLAGS, f"-I{KERNELS}", *(["-fsanitize=fuzzer-no-link"] if libfuzzer else [])]
    headers = sorted([*KERNELS.rglob("*.h"), *HERE.rglob("*.h")])
    version = subprocess.run([command, "--version"], capture_output=True, check=True).stdout
    common = hashlib.sha256(version + repr((command, flags)).encode())
    for header in headers:
        common.update(header.read_bytes())
    objects = OUT / "objects"
    objects.mkdir(parents=True, exist_ok=True)

    def compiled(source: Path) -> Path:
        key = common.copy()
        key.update(source.read_bytes())
        target = objects / f"{source.stem}-{key.hexdigest()[:16]}.o"
        if not target.exists():
            _run([command, *flags, "-c", str(source)], target)
        return target

    drivers = [] if libfuzzer else sorted((HERE / "driver").glob("*.c"))
    kernels = sorted(KERNELS.glob("*.c"))
    harnesses = [HERE / f"{name}.c" for name in wanted]
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        made = dict(
            zip([*kernels, *drivers, *harnesses], pool.map(compiled, [*kernels, *drivers, *harnesses]), strict=True)
        )
    programs = {}
    for harness in harnesses:
        parts = [made[harness], *(made[path] for path in [*drivers, *kernels])]
        key = hashlib.sha256(repr(parts).encode()).hexdigest()[:16]
        program = OUT / f"{harness.stem}-{key}"
        if not program.exists():
            link = ["-fsanitize=fuzzer"] if libfuzzer else []
            _run([command, *FLAGS, *link, *map(str, parts)], program)
            for old in OUT.glob(f"{harness.stem}-{'[0-9a-f]' * 16}"):
                if old != program:
                    old.unlink(missing_ok=True)
        programs[harness.stem] = program
    if set(wanted) == set(names()):
        for old in set(objects.glob("*.o")) - set(made.values()):
            old.unlink(missing_ok=True)
    return programs


def _run(command: list[str], target: Path) -> None:
    """Compiles into a file of our own first, so that two builds at once do not see halves of each other's."""
    part = target.with_name(f"{target.name}.{os.getpid()}.part")
    done = subprocess.run([*command, "-o", str(part)], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}\n{done.stderr}")
    part.replace(target)
