"""Runs a program and takes the exit status of all that is orphaned below it, as libvirt's guests are.

libvirt waits until a guest that it ended is gone from the process table, but the machine's first process may
reap late, or (in a container) never. Started as a file, outside the package: the standard library only.
The program is begun again while others live here, for they would otherwise lose their reaper.
"""

import ctypes
import os
import signal
import sys
import time
from collections.abc import Sequence

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
WATCHED = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT)
FIRST_DELAY, LONGEST_DELAY, STEADY_SECONDS = 0.2, 30.0, 60.0


def main(command: Sequence[str]) -> int:
    """The program's exit status."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)
    program, began, delay, status, ending = spawn(command), time.monotonic(), FIRST_DELAY, 0, False
    while True:
        caught = signal.sigtimedwait(WATCHED, delay if not program else LONGEST_DELAY)
        if caught is not None and caught.si_signo != signal.SIGCHLD:
            ending = True
            if program:
                os.kill(program, signal.SIGTERM)
        ended, alone = reap()
        if program in ended:
            status, program = ended[program], 0
            delay = (
                FIRST_DELAY if time.monotonic() - began > STEADY_SECONDS else min(delay * 2, LONGEST_DELAY)
            )
            began = time.monotonic()
        if not program and (ending or alone):
            return status
        if not program and time.monotonic() - began >= delay:
            program, began = spawn(command), time.monotonic()


def spawn(command: Sequence[str]) -> int:
    child = os.fork()
    if child == 0:
        # Without its reaper the program would hold its lock and nobody would watch it.
        _prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        try:
            os.execvp(command[0], list(command))  # noqa: S606
        except OSError as error:
            print(f"{command[0]}: {error}", file=sys.stderr, flush=True)
            os._exit(127)
    return child


def reap() -> tuple[dict[int, int], bool]:
    """Exit statuses by process, and whether no child is left."""
    ended: dict[int, int] = {}
    while True:
        try:
            child, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended, True
        if not child:
            return ended, False
        ended[child] = abs(os.waitstatus_to_exitcode(status))


def _prctl(option: int, value: int) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if library.prctl(option, ctypes.c_ulong(value), 0, 0, 0):
        raise OSError(ctypes.get_errno(), f"prctl {option}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
