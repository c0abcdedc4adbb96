"""All cases: every row, every step, every fault, on each database; run in forked processes, told as a table."""

import asyncio
import gc
import json
import logging
import os
import struct
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from pileus.workflows.engine import WORKFLOWS
from tests.conftest import postgres_server
from tests.prove import cases
from tests.prove.cases import Case
from tests.prove.databases import Databases
from tests.prove.faults import BY_NAME, END, of_end, of_step
from tests.prove.rows import Discovery, Row
from tests.prove.verdict import Signature

SQLITE, POSTGRESQL = "sqlite", "postgresql"
MEMORY = Path("/dev/shm")
TOLD = 3000
"""Characters of a failure; a report is one write to a pipe."""
AT_ONCE = 6
"""Pairs of workers that wait for leases side by side."""


@dataclass
class Matrix:
    """What was chosen, and what came of it."""

    databases: Sequence[str]
    workflow: str = ""
    fault: str = ""
    jobs: int = 2
    quick: bool = False
    """Only what is quick to try: the faults of one process, on SQLite, and a handful of kills."""
    rows: list[Row] = field(default_factory=list)
    wanted: list[Signature] = field(default_factory=list)
    results: list[tuple[Case, list[str]]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    """With the matrix itself: a workflow that nothing starts, a row that does not end well without a fault."""

    def run(self, told: Callable[[str], None] = lambda line: None) -> None:
        with ExitStack() as stack:
            where = MEMORY if MEMORY.is_dir() else None
            home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pileus-prove-", dir=where)))
            self._prepare(home)
            told(f"{len(self.rows)} ways to start {len(WORKFLOWS)} workflows")
            every, databases = list(self.cases()), None
            if used := {case.row for case in every if case.database == POSTGRESQL}:
                databases = Databases(stack.enter_context(postgres_server()), max(self.jobs, AT_ONCE))
                databases.load({number: self.rows[number] for number in used})
            told(f"{len(every)} cases")
            waiting = [case for case in every if case.fault.workers]
            busy = [case for case in every if not case.fault.workers]
            for chosen, jobs in ((busy, self.jobs), (waiting, AT_ONCE if self.jobs > 1 else 1)):
                self._spread(chosen, jobs, home, databases, told)

    def _prepare(self, home: Path) -> None:
        discovery = Discovery(home, once=self.quick, workflow=self.workflow)
        rows = asyncio.run(discovery.run())
        self.problems += [f"nothing starts the workflow {name}" for name in discovery.missing]
        for number, row in enumerate(rows):
            wrong, wanted = asyncio.run(cases.clean(row, home / f"clean-{number}"))
            self.problems += [f"{row.workflow} ({row.name}), without a fault: {each}" for each in wrong]
            if not wrong:
                self.rows.append(row)
                self.wanted.append(wanted)

    def cases(self) -> Iterator[Case]:
        for database in self.databases:
            for number, row in enumerate(self.rows):
                for step in WORKFLOWS[row.workflow].steps:
                    for fault in of_step(step):
                        yield from self._chosen(Case(number, step.name, fault, database))
                for fault in of_end():
                    if not fault.undo or WORKFLOWS[row.workflow].steps:
                        yield from self._chosen(Case(number, END, fault, database))

    def _chosen(self, case: Case) -> Iterator[Case]:
        if case.fault.workers and case.database != POSTGRESQL:
            return
        if self.fault not in ("", case.fault.name, case.fault.how.value):
            return
        if not self.quick or not case.fault.processes or self._handful(case):
            yield case

    def _handful(self, case: Case) -> bool:
        """The real kills that are quick to try."""
        return self.rows[case.row].workflow == "server.deploy" and case.step in ("define", END)

    def _spread(
        self,
        chosen: Sequence[Case],
        jobs: int,
        home: Path,
        databases: Databases | None,
        told: Callable[[str], None],
    ) -> None:
        """The cases over forked processes: each takes the next number from one pipe, and reports through another."""
        gc.collect()
        gc.freeze()
        take, give = os.pipe()
        listen, report = os.pipe()
        os.write(give, b"".join(struct.pack("I", number) for number in range(len(chosen))))
        os.close(give)
        children = []
        for place in range(min(jobs, len(chosen))):
            child = os.fork()
            if child == 0:
                os.close(listen)
                self._work(chosen, place, home, databases, take, report)
            children.append(child)
        os.close(take)
        os.close(report)
        with os.fdopen(listen) as reports:
            for line in reports:
                number, wrong = json.loads(line)
                self.results.append((chosen[number], wrong))
                if wrong:
                    told(f"FAILED {self.name(chosen[number])}: {wrong[0]}")
        for child in children:
            os.waitpid(child, 0)
        lost = len(chosen) - sum(1 for case, _ in self.results if case in set(chosen))
        if lost:
            self.problems.append(f"{lost} cases were not reported: a process of the matrix itself ended")

    def _work(
        self,
        chosen: Sequence[Case],
        place: int,
        home: Path,
        databases: Databases | None,
        take: int,
        report: int,
    ) -> None:
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
        try:
            while taken := os.read(take, 4):
                (number,) = struct.unpack("I", taken)
                case = chosen[number]
                url = databases.filled(place, case.row) if databases and case.database == POSTGRESQL else ""
                wrong = cases.run(
                    self.rows[case.row], case, self.wanted[case.row], home / f"case-{os.getpid()}", url
                )
                told = [each[: TOLD // (len(wrong) or 1)] for each in wrong]
                os.write(report, json.dumps((number, told)).encode()[:4000] + b"\n")
        finally:
            os._exit(0)

    # --- telling

    def name(self, case: Case) -> str:
        row = self.rows[case.row]
        return f"{row.workflow} / {case.step} / {case.fault.name} ({row.name}; {case.database})"

    def by_workflow(self) -> dict[str, Any]:
        """How many cases each workflow had, and what was wrong in them."""
        found: dict[str, dict[str, Any]] = {name: {"cases": 0, "failures": []} for name in sorted(WORKFLOWS)}
        for case, wrong in self.results:
            of = found[self.rows[case.row].workflow]
            of["cases"] += 1
            of["failures"] += [f"{self.name(case)}: {'; '.join(wrong)}"] if wrong else []
        return {"problems": self.problems, "workflows": found}

    @property
    def failures(self) -> list[str]:
        return self.problems + [
            f"{self.name(case)}: {'; '.join(wrong)}" for case, wrong in self.results if wrong
        ]

    def table(self) -> Iterator[str]:
        """workflow x step x fault: how many cases were right, or F where one was not."""
        columns = [name for name in BY_NAME if any(case.fault.name == name for case, _ in self.results)]
        yield from (f"{number:>4}  {name}" for number, name in enumerate(columns, 1))
        counts: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        for case, wrong in self.results:
            counted = counts[self.rows[case.row].workflow, case.step]
            counted[case.fault.name] += 1
            counted[f"F {case.fault.name}"] += bool(wrong)
        yield f"{'workflow':<22}{'step':<14}" + "".join(
            f"{number:>4}" for number in range(1, len(columns) + 1)
        )
        for name in sorted(WORKFLOWS):
            for step in (*(step.name for step in WORKFLOWS[name].steps), END):
                if counted := counts.get((name, step)):
                    cells = ("F" if counted[f"F {each}"] else str(counted[each] or "-") for each in columns)
                    yield f"{name:<22}{step:<14}" + "".join(f"{cell:>4}" for cell in cells)
        wrong_cases = sum(bool(wrong) for _, wrong in self.results)
        yield f"{len(self.results)} cases, {len(self.results) - wrong_cases} ok, {wrong_cases} FAILED"


__all__ = ["POSTGRESQL", "SQLITE", "Matrix"]
