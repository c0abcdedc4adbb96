"""Start, stop and look at a cloud on this machine."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec

from pileus.config import Config, load, plain, typed

STOP_SECONDS = 30.0
QUESTION = "pileus: "


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
        values[name] = value
    return msgspec.convert(
        values | given | {"state": str(state.absolute())}, Config, strict=False, dec_hook=typed
    )


def up(state: Path, given: dict[str, Any], settings: tuple[str, ...], *, detach: bool) -> int:
    """Exit code: 0 when the cloud runs (or, attached, ended as asked), 1 when it could not be started."""
    from pileus.app.running import found

    try:
        config = configure(state, given, settings)
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
    options = msgspec.json.encode(config, enc_hook=plain).decode()
    with log.open("ab") as sink:
        child = subprocess.Popen(
            [sys.executable, "-m", "pileus.cli.serve", options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=sink,
            start_new_session=True,
            text=True,
        )
    assert child.stdout is not None
    for line in child.stdout:
        print(line, end="", flush=True)
        if line.startswith(f"{QUESTION}all APIs answer"):
            say(f"running in the background; its log is {log}")
            return 0
    code = child.wait()
    complain(f"it did not start (exit code {code}); the end of {log}:")
    print("".join(log.read_text(errors="replace").splitlines(keepends=True)[-15:]), file=sys.stderr)
    return code or 1


def down(state: Path, *, guests: bool) -> int:
    from pileus.app.running import found

    running = found(state.absolute())
    if running is None:
        config = configure(state, {}, ())
        say("no cloud runs here; ending what daemons are left")
    else:
        config = running.config
        os.kill(running.process.pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while running.process.alive():
            if time.monotonic() > deadline:
                os.kill(running.process.pid, signal.SIGKILL)
            time.sleep(0.05)
        say("the control plane ended")
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
        say(f"not running (state in {state.absolute()}); start it with `pileus up`")
        return 3
    say(f"runs at {running.url} (process {running.process.pid}, state in {running.config.state})")
    for line in asyncio.run(_counts(running.config)):
        print(f"  {line}")
    return 0


async def _counts(config: Config) -> list[str]:
    from pileus.app.running import database_url
    from pileus.core import invariants
    from pileus.core.alerts import Alert
    from pileus.core.cloud import Cloud
    from pileus.core.compute.records import Host, Server
    from pileus.core.operations import LIVE, Operation, Outcome
    from pileus.store import open_store

    store = await open_store(database_url(config))
    try:
        async with store.view() as view:
            hosts = await view.list(Host, order=("number",), limit=20)
            lines = [
                f"host {h.hostname}: {h.hypervisor_type}, {'up' if h.up else 'DOWN'}, {h.servers} servers, "
                f"{h.memory_mib_used} of {h.memory_mib} MiB claimed"
                for h in hosts
            ]
            lines.append(f"servers: {await view.count(Server)}")
            lines.append(f"operations running: {await view.count(Operation, outcome=tuple(LIVE))}")
            broken = await invariants.violations(Cloud(config, store))
            lines += [f"NOT SOUND: {each}" for each in broken[:20]]
            flagged = await view.list(Operation, outcome=Outcome.FLAGGED, limit=20)
            lines += [f"NEEDS A PERSON: operation {o.id} ({o.workflow}): {o.why}; {o.fault}" for o in flagged]
            if flagged:
                lines.append(
                    "  see `pileus operation show ID`; when its cause is gone: `pileus operation retry ID`"
                )
            open_ = await view.list(Alert, cleared_at=None, archived=False, order=("-last_at",))
            lines.append(f"alerts open: {len(open_)}")
            lines += [f"{each.severity.value.upper()}: {each.text}" for each in open_[:20]]
    finally:
        await store.close()
    return lines
