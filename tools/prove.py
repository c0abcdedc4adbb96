"""The kill matrix: every workflow, every step, every fault, on both databases; exit code 1 when anything is wrong."""

import argparse
import json
import logging
import signal
import sys
import time
from pathlib import Path

import structlog

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.prove.faults import BY_NAME
from tests.prove.matrix import POSTGRESQL, SQLITE, Matrix

DATABASES = {SQLITE: (SQLITE,), POSTGRESQL: (POSTGRESQL,), "both": (SQLITE, POSTGRESQL)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", choices=DATABASES, default="both")
    parser.add_argument("--workflow", default="", help="only this one, as server.deploy")
    parser.add_argument(
        "--fault", default="", help=f"only this one: {', '.join(BY_NAME)}; or the first word of it"
    )
    parser.add_argument("--jobs", type=int, default=2, help="processes that work on cases at once")
    parser.add_argument(
        "--quick", action="store_true", help="one start of each workflow, faults of one process"
    )
    parser.add_argument("--json", action="store_true", help="print the failures by workflow as JSON")
    given = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was begun is put away
    began = time.monotonic()
    matrix = Matrix(DATABASES[given.database], given.workflow, given.fault, given.jobs, given.quick)
    matrix.run(lambda line: print(line, file=sys.stderr, flush=True))
    if given.json:
        print(json.dumps(matrix.by_workflow()))
    else:
        for line in matrix.table():
            print(line)
        for line in matrix.failures:
            print(f"FAILED {line}")
        print(f"{time.monotonic() - began:.0f} s")
    return 1 if matrix.failures else 0


if __name__ == "__main__":
    sys.exit(main())
