"""``make bench-leads``: the pool beside its rivals, what watching it costs, and questions
about millions of leads; writes docs/benchmarks.md.

    python -m benchmarks.bench_leads [--runs N] [--seconds S] [--only NAMES] [--large]
                                     [--quick] [--no-peers] [--patient]

``--seconds`` is how long each run of the pool asks. ``--large``: queries and users over 10M leads and 50M sends (some
20 GB) instead of 2M and 10M; the other scenarios as always. ``--quick`` takes one short run over little data and leaves
docs/benchmarks.md alone.
``--patient`` waits for a quiet machine before each run, and repeats runs that others disturbed.
"""

from __future__ import annotations

from . import suite
from .scenarios import Options

SCENARIOS = ["queries", "users", "cost", "pool", "instrumentation", "asgi"]


def main() -> int:
    parser = suite.parser("bench_leads", __doc__, SCENARIOS)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--large", action="store_true")
    args = parser.parse_args()
    options = Options(
        program="bench_leads",
        rows=200_000 if args.quick else 2_000_000,
        runs=1 if args.quick else args.runs,
        seconds=0.5 if args.quick else args.seconds,
        quick=args.quick,
        large=args.large,
        peers=not args.no_peers,
        say=lambda text: print(text, flush=True),
    )
    return suite.run(suite.chosen(parser, args.only, SCENARIOS), options, patient=args.patient)


if __name__ == "__main__":
    raise SystemExit(main())
