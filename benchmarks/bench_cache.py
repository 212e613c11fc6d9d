"""``make bench-cache``: the cache beside clients and caches of Redis; writes docs/benchmarks.md.

    python -m benchmarks.bench_cache [--runs N] [--only NAMES] [--quick] [--no-peers]

``--quick`` takes one short run and leaves docs/benchmarks.md alone.
"""

from __future__ import annotations

from . import suite
from .scenarios import Options

SCENARIOS = ["cache", "django", "tracking", "behind"]
WITHOUT_POSTGRES = ["cache", "django", "tracking"]


def main() -> int:
    parser = suite.parser("bench_cache", __doc__, SCENARIOS)
    args = parser.parse_args()
    options = Options(
        program="bench_cache",
        runs=1 if args.quick else args.runs,
        quick=args.quick,
        peers=not args.no_peers,
        say=lambda text: print(text, flush=True),
    )
    return suite.run(
        suite.chosen(parser, args.only, SCENARIOS), options, patient=args.patient, without_server=WITHOUT_POSTGRES
    )


if __name__ == "__main__":
    raise SystemExit(main())
