"""Runs one harness for a while. A crash leaves its input in build/fuzz and its report in the exception."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tools.fuzz.build import HERE, OUT, compiler


class Crash(Exception):
    """A harness found something. The text ends with the sanitizer's report and says how to repeat it."""


def run(name: str, program: Path, seconds: float, seed: int) -> str:
    """The driver's last words (how many inputs it tried). Crash if a check failed."""
    found = compiler()
    libfuzzer = found is not None and found[1]
    crash = OUT / f"crash-{name}"
    crash.unlink(missing_ok=True)
    seeds = HERE / "seeds" / name
    words = HERE / f"{name}.dict"
    if libfuzzer:
        corpus = OUT / "corpus" / name
        corpus.mkdir(parents=True, exist_ok=True)
        command = [str(program), f"-max_total_time={max(1, round(seconds))}", f"-seed={seed or 1}", "-max_len=8192"]
        command += ["-print_final_stats=1", f"-exact_artifact_path={crash}", "-timeout=25", "-rss_limit_mb=2560"]
        command += [f"-dict={words}"] if words.exists() else []
        command += [str(corpus), *([str(seeds)] if seeds.exists() else [])]
    else:
        command = [str(program), "--seconds", str(seconds), "--seed", str(seed), "--last", str(crash)]
        command += ["--dict", str(words)] if words.exists() else []
        command += [str(path) for path in sorted(seeds.glob("*"))] if seeds.exists() else []
    try:
        done = subprocess.run(command, capture_output=True, env=_environment(), timeout=seconds * 3 + 120)
    except subprocess.TimeoutExpired:
        raise Crash(f"{name} (seed {seed}) hangs. {_again(name, crash)}") from None
    output = (done.stdout + done.stderr).decode(errors="replace").strip()
    if not libfuzzer and crash.exists():  # the driver keeps the length behind the input
        kept = crash.read_bytes()
        crash.write_bytes(kept[: int.from_bytes(kept[-8:], sys.byteorder)])
    if done.returncode != 0:
        raise Crash(f"{name} (seed {seed}) ended with {done.returncode}. {_again(name, crash)}\n{output[-6000:]}")
    if not libfuzzer:
        crash.unlink(missing_ok=True)
        return output.splitlines()[-1]
    units = [line.split(":")[-1].strip() for line in output.splitlines() if "number_of_executed_units" in line]
    return f"{units[0] if units else '?'} inputs"


def repeat(name: str, program: Path, case: Path) -> str:
    """Runs one input again."""
    found = compiler()
    command = [str(program), str(case)] if found and found[1] else [str(program), "--repeat", str(case)]
    done = subprocess.run(command, capture_output=True, env=_environment(), timeout=300)
    output = (done.stdout + done.stderr).decode(errors="replace").strip()
    if done.returncode != 0:
        raise Crash(f"{name} ended with {done.returncode}\n{output[-20000:]}")
    return "no fault"


def _again(name: str, crash: Path) -> str:
    return f"Repeat it with: python -m tools.fuzz --repeat {crash.relative_to(OUT.parents[1])} {name}"


def _environment() -> dict[str, str]:
    # Leaks are looked for at the end; where ptrace is forbidden, as in many containers, that search itself fails.
    return os.environ | {
        "ASAN_OPTIONS": "abort_on_error=0:exitcode=99:detect_leaks=1:allocator_may_return_null=1",
        "LSAN_OPTIONS": "exitcode=99",
        "UBSAN_OPTIONS": "print_stacktrace=1",
    }
