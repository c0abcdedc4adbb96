"""Start, stop and look at a cloud on this machine."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

import msgspec

from pileus.config import Config, load, plain, typed

if TYPE_CHECKING:
    from pileus.store import View

STOP_SECONDS = 30.0
QUESTION = "pileus: "
SHOWN = 20
"""Of each kind in the status."""


def say(text: str) -> None:
    print(f"{QUESTION}{text}", flush=True)


def complain(text: str) -> None:
    print(f"{QUESTION}{text}", file=sys.stderr, flush=True)


def configure(state: Path, given: dict[str, Any], settings: tuple[str, ...]) -> Config:
    """The file in the state directory, then `--set`, then the options. ValueError names what is wrong."""
    file = state / "pileus.toml"
    values: dict[str, Any] = msgspec.to_builtins(load(file), enc_hook=plain) if file.exists() else {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals or name not in Config.__struct_fields__:
            raise ValueError(f"--set {setting}: expected NAME=VALUE with a NAME of docs/operator/settings.md")
        values[name] = _value(name, value)
    return msgspec.convert(
        values | given | {"state": str(state.absolute())}, Config, strict=False, dec_hook=typed
    )


def _value(name: str, text: str) -> Any:
    """As the setting's type has it; of several values with commas between them. ValueError names the setting."""
    kind = next(field.type for field in msgspec.structs.fields(Config) if field.name == name)
    given = [each for each in text.split(",") if each] if kind == tuple[str, ...] else text
    try:
        return msgspec.to_builtins(msgspec.convert(given, kind, strict=False, dec_hook=typed), enc_hook=plain)
    except msgspec.ValidationError as error:
        choice = f"; it is {' or '.join(get_args(kind))}" if get_origin(kind) is Literal else ""
        raise ValueError(f"--set {name}={text}: {error}{choice}") from None


def _refuse_other_kind(config: Config) -> None:
    """The records of a simulated cloud name hosts that are nowhere else, those of a real one guests that run here."""
    simulated, real = ((config.state / name).is_dir() for name in ("simulated", "pool"))
    if simulated and not real and not config.simulate:
        raise ValueError(
            f"{config.state} holds a simulated cloud: start it with --simulate HOSTS as before "
            "(or write simulate = HOSTS in its pileus.toml), or name another --state"
        )
    if real and not simulated and config.simulate:
        raise ValueError(
            f"{config.state} holds a real cloud: start it without --simulate, or name another --state"
        )


def up(state: Path, given: dict[str, Any], settings: tuple[str, ...], *, detach: bool) -> int:
    """Exit code: 0 when the cloud runs (or, attached, ended as asked), 1 when it could not be started."""
    from pileus.app.running import found

    try:
        config = configure(state, given, settings)
        _refuse_other_kind(config)
    except (ValueError, msgspec.ValidationError) as error:
        complain(str(error))
        return 1
    running = found(config.state)
    if running is not None:
        say(f"runs already at {running.url} (process {running.process.pid}, state in {config.state})")
        return 0
    return _detached(config) if detach else serve(config)


def serve(config: Config) -> int:
    from pileus.app.logs import configure as configure_logs
    from pileus.app.server import App, Lock
    from pileus.drivers.errors import DriverError
    from pileus.store import StoreError

    configure_logs()
    try:
        lock = Lock(config.state)
    except (DriverError, OSError) as error:
        complain(f"cannot start: {error}")
        return 1
    import uvloop

    try:
        app = App(config, say)
        uvloop.run(app.run(lambda: say(f"all APIs answer at {config.url}")))
    except (DriverError, StoreError, ValueError) as error:
        complain(f"cannot start: {error}")
        return 1
    finally:
        lock.release()
    return 0


def _detached(config: Config) -> int:
    """A child in a session of its own, with its log in the state directory; its words are repeated until it is ready."""
    config.state.mkdir(parents=True, exist_ok=True, mode=0o711)
    log = config.state / "pileus.log"
    with log.open("ab") as sink:
        child = subprocess.Popen(
            [sys.executable, "-m", "pileus.cli.serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=sink,
            start_new_session=True,
            text=True,
        )
    assert child.stdin is not None
    assert child.stdout is not None
    with child.stdin as options:
        options.write(msgspec.json.encode(config, enc_hook=plain).decode())
    for line in child.stdout:
        print(line, end="", flush=True)
        if line.startswith(f"{QUESTION}all APIs answer"):
            say(f"running in the background; its log is {log}")
            return 0
    code = child.wait()
    complain(f"it did not start (exit code {code}); the end of {log}:")
    print("".join(log.read_text(errors="replace").splitlines(keepends=True)[-15:]), end="", file=sys.stderr)
    return code or 1


def down(state: Path, *, guests: bool) -> int:
    from pileus.app.running import found

    running = found(state.absolute())
    if running is None:
        config = configure(state, {}, ())
        say(f"no cloud runs on {state.absolute()}; ending what daemons are left")
    else:
        config = running.config
        os.kill(running.process.pid, signal.SIGTERM)
        deadline, killed = time.monotonic() + STOP_SECONDS, False
        while running.process.alive():
            if time.monotonic() > deadline and not killed:
                os.kill(running.process.pid, signal.SIGKILL)
                killed = True
            time.sleep(0.05)
        why = f": it did not end by itself in {STOP_SECONDS:.0f} s and was killed" if killed else ""
        say(f"the control plane ended{why}")
    (config.state / "running.json").unlink(missing_ok=True)
    if not config.simulate and config.state.exists():
        from pileus.app.machine import Machine

        asyncio.run(Machine(config, say).stop(guests=guests))
        say("the daemons ended" + (", and the guests with them" if guests else "; guests run on"))
    return 0


def status(state: Path) -> int:
    """Exit code 0 when it runs, 3 when it does not (as service managers have it)."""
    from pileus.app.running import found

    running = found(state.absolute())
    if running is None:
        say(f"not running (state in {state.absolute()}); start it with `pileus up --state {state}`")
        return 3
    say(f"runs at {running.url} (process {running.process.pid}, state in {running.config.state})")
    from pileus.store import StoreError

    try:
        lines = asyncio.run(_counts(running.config))
    except (StoreError, OSError) as error:
        complain(f"its records cannot be read: {error}; was this run as the user who started it?")
        return 1
    for line in lines:
        print(f"  {line}")
    return 0


async def _counts(config: Config) -> list[str]:
    from pileus.app.running import database_url
    from pileus.core import invariants
    from pileus.core.cloud import Cloud
    from pileus.core.compute.records import Server, State
    from pileus.core.operations import LIVE, Operation, Outcome
    from pileus.store import open_store

    store = await open_store(database_url(config))
    try:
        async with store.view() as view:
            lines = await _hosts(view)
            wrong = await view.count(Server, state=State.ERROR)
            lines.append(f"servers: {await view.count(Server)}" + (f", {wrong} in error" if wrong else ""))
            lines.append(f"operations running: {await view.count(Operation, outcome=tuple(LIVE))}")
            broken = await invariants.violations(Cloud(config, store))
            lines += [f"NOT SOUND: {each}" for each in broken[:SHOWN]]
            flagged = await view.list(Operation, outcome=Outcome.FLAGGED, limit=SHOWN)
            lines += [f"NEEDS A PERSON: operation {o.id} ({o.workflow}): {o.why}; {o.fault}" for o in flagged]
            if flagged:
                lines.append(
                    "  see `pileus operation show ID`; when its cause is gone: `pileus operation retry ID`"
                )
            lines += await _alerts(view)
    finally:
        await store.close()
    return lines


async def _hosts(view: "View") -> list[str]:
    """All of them in a small cloud, in a larger one those that are not at work."""
    from pileus.core.compute.records import Host

    aside: dict[str, dict[str, Any]] = {
        "DOWN": {"up": False},
        "disabled": {"enabled": False},
        "in maintenance": {"maintenance": True},
    }
    count = await view.count(Host)
    counts = {word: await view.count(Host, **where) for word, where in aside.items()}
    lines = [", ".join([f"hosts: {count}", *(f"{n} {word}" for word, n in counts.items() if n)])]
    if count <= SHOWN:
        shown = await view.list(Host, order=("number",))
    else:
        found = [await view.list(Host, order=("number",), limit=SHOWN, **where) for where in aside.values()]
        shown = list({host.id: host for hosts in found for host in hosts}.values())[:SHOWN]
    for host in shown:
        state = [
            word for word, where in aside.items() if all(getattr(host, k) is v for k, v in where.items())
        ]
        reason = f" ({host.disabled_reason})" if host.disabled_reason and not host.enabled else ""
        lines.append(
            f"host {host.hostname}: {host.hypervisor_type}, {', '.join(state) or 'up'}{reason}, "
            f"{counted(host.servers, 'server')}, {host.memory_mib_used} of {host.memory_mib} MiB claimed"
        )
    return lines


async def _alerts(view: "View") -> list[str]:
    """The worst first."""
    from pileus.core.alerts import Alert, Severity

    found = await view.list(Alert, cleared_at=None, archived=False, order=("-last_at",))
    worst = sorted(found, key=lambda each: -list(Severity).index(each.severity))
    lines = [f"alerts open: {len(found)}"]
    lines += [f"{each.severity.value.upper()}: {each.text}" for each in worst[:SHOWN]]
    return lines + (["the others: GET /console/alerts"] if len(found) > SHOWN else [])


def counted(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
