"""python -m tools.twin: see the package's own words."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

from tools import twin
from tools.twin.convert import convert, in_order, twin_name
from tools.twin.rules import RULES

ROOT = Path(__file__).resolve().parents[2]
PLACES = ("src/mailgenius", "tests")


def sources() -> list[Path]:
    return sorted(path for place in PLACES for path in (ROOT / place).rglob("*_async.py"))


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tools.twin", description=twin.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a twin is stale")
    check: bool = parser.parse_args().check
    used: Counter[str] = Counter()
    wrong = []
    for source in sources():
        name = source.relative_to(ROOT).as_posix()
        target = source.with_stem(twin_name(source.stem))
        text = in_order(convert(source.read_text("utf-8"), source.name, RULES, used), str(target))
        if target.exists() and target.read_text("utf-8") == text:
            continue
        if check:
            wrong.append(f"{target.relative_to(ROOT)}: is not the twin of {name}; run python -m tools.twin")
        else:
            target.write_text(text, "utf-8")
            print(f"wrote {target.relative_to(ROOT)}")
    wrong += [f"tools/twin/rules.py: nothing uses {rule!r}; remove it" for rule in RULES if not used[rule]]
    print("\n".join(wrong), file=sys.stderr, end="\n" if wrong else "")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
