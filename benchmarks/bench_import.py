"""``make bench-import``: every import figure beside its rivals, in one run on one server; writes docs/benchmarks.md.

    python -m benchmarks.bench_import [--rows N] [--runs N] [--only full,small,onto,query,core,kernels,memory]
                                      [--quick] [--scale] [--no-peers] [--patient]

``--quick`` takes 200,000 rows and one run and leaves docs/benchmarks.md alone. ``--scale`` adds ten million rows.
``--patient`` waits for a quiet machine before each run, and repeats runs that others disturbed.
"""

from __future__ import annotations

from . import suite
from .scenarios import Options

SCENARIOS = ["core", "kernels", "small", "query", "onto", "full", "memory"]
WITHOUT_SERVER = {"core", "kernels"}


def main() -> int:
    parser = suite.parser("bench_import", __doc__, SCENARIOS)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--scale", action="store_true")
    args = parser.parse_args()
    options = Options(
        program="bench_import",
        rows=200_000 if args.quick else args.rows,
        runs=1 if args.quick else args.runs,
        quick=args.quick,
        scale=args.scale,
        peers=not args.no_peers,
        say=lambda text: print(text, flush=True),
    )
    scenarios = suite.chosen(parser, args.only, SCENARIOS)
    return suite.run(scenarios, options, patient=args.patient, without_server=WITHOUT_SERVER)


if __name__ == "__main__":
    raise SystemExit(main())
