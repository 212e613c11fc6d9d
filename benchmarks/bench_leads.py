"""``make bench-leads``: the pool beside its rivals, in one run on one server; writes docs/benchmarks.md.

    python -m benchmarks.bench_leads [--runs N] [--seconds S] [--only pool] [--quick] [--no-peers] [--patient]

``--seconds`` is how long each run asks. ``--quick`` takes one run of half a second and leaves docs/benchmarks.md alone.
``--patient`` waits for a quiet machine before each run, and repeats runs that others disturbed.
"""

from __future__ import annotations

from . import suite
from .scenarios import Options

SCENARIOS = ["pool"]


def main() -> int:
    parser = suite.parser("bench_leads", __doc__, SCENARIOS)
    parser.add_argument("--seconds", type=float, default=2.0)
    args = parser.parse_args()
    options = Options(
        program="bench_leads",
        runs=1 if args.quick else args.runs,
        seconds=0.5 if args.quick else args.seconds,
        quick=args.quick,
        peers=not args.no_peers,
        say=lambda text: print(text, flush=True),
    )
    return suite.run(suite.chosen(parser, args.only, SCENARIOS), options, patient=args.patient)


if __name__ == "__main__":
    raise SystemExit(main())
