"""Hours of a cloud in seconds: users, faults and crashes at random from a seed, then the verdict.

`tools/simulate.py --seed 7` runs one again that failed; `--seeds 1-50` looks for new ones. Exits with 1 when one failed.
"""

import argparse
import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.simulation.scenario import Outcome, Scenario, play


def seeds(text: str) -> Iterable[int]:
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


def tell(outcome: Outcome, seconds: float, shown: int) -> None:
    requests = (
        sum(count for name, count in outcome.tally.items() if ":" not in name) - outcome.tally["events"]
    )
    print(
        f"seed {outcome.seed}: {'FAILED' if outcome.findings else 'ok'} in {seconds:.1f} s, {requests} requests "
        f"accepted, {outcome.tally['crash']} crashes, {outcome.tally['events']} events {outcome.events[:12]}, "
        f"calls {outcome.calls[:12]}",
        flush=True,
    )
    for finding in outcome.findings:
        print(f"  {finding}")
    for line in outcome.story:
        print(f"  {line}")
    if outcome.findings and shown:
        print(f"  the last {shown} calls of platforms:")
        for told in outcome.last[-shown:]:
            print(f"    {told.at:.3f} {told.platform} {told.call} {told.subject} {told.outcome}")
        print(f"  again: tools/simulate.py --seed {outcome.seed} with the same --hours and --hosts")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seeds", type=seeds, help="several: 1-50")
    parser.add_argument("--hours", type=float, default=2.0, help="of virtual time, before the faults stop")
    parser.add_argument("--hosts", type=int, default=20)
    parser.add_argument("--requests", type=float, default=6.0, help="a virtual minute")
    parser.add_argument("--faults", type=float, default=0.7, help="a virtual minute")
    parser.add_argument("--crashes", type=float, default=0.05, help="a virtual minute")
    parser.add_argument("--calls", type=int, default=40, help="last calls to print of a run that failed")
    parser.add_argument("--about", action="append", default=[], metavar="ID", help="tell all about an object")
    parser.add_argument("--tally", action="store_true", help="print what happened how often")
    options = parser.parse_args()
    failed = 0
    for seed in options.seeds or (options.seed,):
        began = time.perf_counter()
        outcome = play(
            Scenario(
                seed=seed,
                hours=options.hours,
                hosts=options.hosts,
                requests=options.requests,
                faults=options.faults,
                crashes=options.crashes,
                about=tuple(options.about),
            )
        )
        failed += bool(outcome.findings)
        tell(outcome, time.perf_counter() - began, options.calls)
        if options.tally:
            for name, count in sorted(outcome.tally.items()):
                print(f"  {count:6} {name}")
    return 1 if failed else 0


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != "0":
        # The order of sets of words depends on it, and with that the course of a run.
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, "PYTHONHASHSEED": "0"})
    sys.exit(main())
