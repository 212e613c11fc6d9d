"""The compiled core with its bindings under AddressSanitizer and UBSan; Python's own allocator is off, so that a byte too
far in a ``bytes`` is seen, too. ``make fuzz`` does the same to the kernels alone, with random input.

    python -m tools.sanitize                     what the cache, the link and the importer rest on
    python -m tools.sanitize tests/kernels -x    anything that pytest takes

The core is compiled into build/sanitize, beside the one that is in use.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "build" / "sanitize"
TESTS = ["tests/kernels", "tests/unit/test_cache_keys.py", "tests/unit/test_cache_codec.py", "tests/unit/test_link.py"]
#: pytest with the package of build/sanitize in front of the one that is installed for editing.
RUN = """
import sys
sys.meta_path = [finder for finder in sys.meta_path if "Redirecting" not in type(finder).__name__]
sys.path.insert(0, sys.argv.pop(1))
import mailgenius._native, pytest
assert mailgenius._native.__file__.startswith(sys.path[0]), mailgenius._native.__file__
sys.exit(pytest.main(sys.argv[1:]))
"""


def build() -> Path:
    """Where the package is. SystemExit if it cannot be compiled."""
    place = OUT / "site"
    shutil.rmtree(place, ignore_errors=True)
    settings = {
        "build-dir": str(OUT / "cmake"),
        "cmake.build-type": "Debug",
        "cmake.define.MG_SANITIZE": "ON",
        "install.strip": "false",
    }
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-build-isolation", "--no-deps"]
    command += [f"--config-settings={name}={value}" for name, value in settings.items()]
    if subprocess.run([*command, "--target", str(place), str(ROOT)], check=False).returncode:
        raise SystemExit("the core could not be compiled with sanitizers: gcc needs libasan and libubsan")
    return place


def run(place: Path, words: list[str]) -> int:
    """pytest's verdict, or the sanitizer's."""
    compiler = os.environ.get("CC", "gcc")
    libraries = [
        subprocess.run(
            [compiler, f"-print-file-name={name}"], check=True, capture_output=True, text=True
        ).stdout.strip()
        for name in ("libasan.so", "libubsan.so")
    ]
    # Python keeps what it needs until its end, and loses sight of it: leaks are looked for in the kernels, by make fuzz.
    environ = os.environ | {
        "LD_PRELOAD": " ".join(libraries),
        "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1",
        "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
        "PYTHONMALLOC": "malloc",
    }
    command = [sys.executable, "-c", RUN, str(place), "-p", "no:cacheprovider", "--capture=no", *words]
    return subprocess.run(command, cwd=ROOT, env=environ, check=False).returncode


if __name__ == "__main__":
    sys.exit(run(build(), sys.argv[1:] or [*TESTS, "-m", "not fuzz", "--timeout", "1200"]))
