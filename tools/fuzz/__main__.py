"""python -m tools.fuzz: see the package's own words."""

from __future__ import annotations

import argparse
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tools import fuzz
from tools.fuzz.build import build, names
from tools.fuzz.run import Crash, repeat, run


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tools.fuzz", description=fuzz.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="harness", help=f"of {', '.join(names())}; default: all")
    parser.add_argument("--seconds", type=float, default=60, help="for all harnesses together (default 60)")
    parser.add_argument("--jobs", type=int, default=1, help="harnesses run at once (default 1)")
    parser.add_argument("--seed", type=int, help="of the random numbers; default: the time")
    parser.add_argument("--repeat", type=Path, metavar="FILE", help="run this one input again")
    options = parser.parse_args()
    unknown = set(options.names) - set(names())
    if unknown:
        parser.error(f"there is no harness {', '.join(sorted(unknown))}")
    wanted = options.names or names()
    seed = options.seed if options.seed is not None else int(time.time())
    try:
        programs = build(wanted)
        if options.repeat:
            for name in wanted:
                print(f"{name}: {repeat(name, programs[name], options.repeat)}")
            return 0
    except (Crash, RuntimeError) as error:
        print(error, file=sys.stderr)
        return 1
    share = options.seconds * options.jobs / len(wanted)

    def one(name: str) -> bool:
        try:
            print(
                f"{name}: {run(name, programs[name], share, seed)} in {share:.0f} s, no fault (seed {seed})", flush=True
            )
        except Crash as crash:
            print(crash, file=sys.stderr, flush=True)
            return False
        return True

    with ThreadPoolExecutor(options.jobs) as pool:
        return 0 if all(list(pool.map(one, wanted))) else 1


if __name__ == "__main__":
    sys.exit(main())
