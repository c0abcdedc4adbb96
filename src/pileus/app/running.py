"""Where a running cloud is: what `pileus status`, `down` and `credentials` need to find it."""

import os
from pathlib import Path

import msgspec

from pileus.app.daemons.process import Process, identify
from pileus.config import Config, plain, typed


class Running(msgspec.Struct, frozen=True):
    process: Process
    url: str
    config: Config


def database_url(config: Config) -> str:
    return config.database or f"sqlite:///{config.state / 'pileus.db'}"


def note(config: Config) -> None:
    """Leave word that this process serves the state directory; for its user alone, as the settings may hold passwords."""
    running = Running(identify(os.getpid(), ("pileus",)), config.url, config)
    path = config.state / "running.json"
    fresh = path.with_suffix(".new")
    fresh.touch(mode=0o600)
    fresh.chmod(0o600)
    fresh.write_bytes(msgspec.json.encode(running, enc_hook=plain))
    fresh.replace(path)


def found(state: Path) -> Running | None:
    """The cloud that runs on this state directory, if one does. Ends the command of another user than started it."""
    try:
        running = msgspec.json.decode((state / "running.json").read_bytes(), type=Running, dec_hook=typed)
    except PermissionError as error:
        raise SystemExit(
            f"pileus: {error.filename} is for the user who started the cloud; run this as that user"
        ) from None
    except (FileNotFoundError, msgspec.DecodeError):
        return None
    return running if running.process.alive() else None
