"""``make bench-queue``: the queue beside other job queues on Redis; writes docs/benchmarks.md.

    python -m benchmarks.bench_queue [--runs N] [--only NAMES] [--quick] [--no-peers] [--large]

``--quick`` takes one short run and leaves docs/benchmarks.md alone; ``--large`` has 10M delayed jobs instead of 1M.
"""

from __future__ import annotations

from . import suite
from .scenarios import Options

SCENARIOS = [
    "queue_add",
    "queue_work",
    "queue_two",
    "queue_far",
    "queue_shards",
    "queue_idle",
    "queue_server",
    "queue_delayed",
    "queue_many",
    "queue_mail",
]


def main() -> int:
    parser = suite.parser("bench_queue", __doc__, SCENARIOS)
    parser.add_argument("--large", action="store_true", help="10M delayed jobs")
    args = parser.parse_args()
    options = Options(
        program="bench_queue",
        runs=1 if args.quick else args.runs,
        quick=args.quick,
        large=args.large,
        peers=not args.no_peers,
        say=lambda text: print(text, flush=True),
    )
    return suite.run(
        suite.chosen(parser, args.only, SCENARIOS), options, patient=args.patient, without_server=SCENARIOS
    )


if __name__ == "__main__":
    raise SystemExit(main())
