"""`python -m bench.peers`: set the peers up, list them, run rounds of them."""

from __future__ import annotations

import argparse
import json
import signal
import sys

from bench.peers import environment, rounds


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("setup", help="install the peers into bench/peers/.venv (instant when nothing changed)")
    verbs.add_parser("list", help="print their names")
    run = verbs.add_parser("run", help="one round of each peer named, or of all")
    run.add_argument("names", nargs="*", metavar="NAME", help=", ".join(rounds.NAMES))
    run.add_argument(
        "--jobs", type=int, default=rounds.JOBS, metavar="N", help="no-op jobs a peer (default %(default)s)"
    )
    run.add_argument("--json", action="store_true", help="one JSON object a line")
    asked = parser.parse_args()
    unknown = set(getattr(asked, "names", ())) - set(rounds.NAMES)
    if unknown:
        parser.error(f"no peer is called {', '.join(sorted(unknown))}; there are {', '.join(rounds.NAMES)}")
    if getattr(asked, "jobs", rounds.JOBS) < 2:
        parser.error("a round needs at least two jobs")
    # Unwind on SIGTERM too, so that a round that is under way is stopped and its folder removed.
    signal.signal(signal.SIGTERM, lambda signum, frame: sys.exit(143))
    if asked.verb == "setup":
        try:
            environment.setup()
        except environment.SetupFailed as exc:
            print(exc, file=sys.stderr)
            return 1
    elif asked.verb == "list":
        print("\n".join(rounds.NAMES))
    else:
        for name in asked.names or rounds.NAMES:
            result = rounds.run(name, asked.jobs)
            print(json.dumps(result) if asked.json else _row(result), flush=True)
    return 0


def _row(result: dict[str, object]) -> str:
    if "skipped" in result:
        return f"{result['name']:<18} skipped: {result['skipped']}"
    bulk = result["enqueue_bulk_per_s"]
    bulk_text = f"{bulk:>9,.0f}/s" if isinstance(bulk, float) else f"{'none':>11}"
    durable = "durable" if result["durable"] else "not durable per task"
    return (
        f"{result['name']:<18} enqueue {result['enqueue_per_s']:>7,.0f}/s  bulk {bulk_text}  "
        f"drain {result['drain_per_s']:>7,.0f}/s  {durable}"
    )


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
