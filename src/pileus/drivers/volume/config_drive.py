"""A config drive: an ISO 9660 image labelled config-2, with the long names of Rock Ridge and Joliet."""

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path, PurePosixPath

from pycdlib import PyCdlib
from pycdlib.pycdlibexception import PyCdlibException

from pileus.drivers.errors import Refused

LABEL = "config-2"
LONGEST_NAME = 64
"""Of Joliet."""


def write(files: Mapping[str, bytes], target: Path) -> None:
    """Blocks; call it in a thread. Raises Refused for a path that cannot be on the drive."""
    disc = PyCdlib()
    try:
        disc.new(interchange_level=3, vol_ident=LABEL, joliet=3, rock_ridge="1.09")
        folders = {PurePosixPath("/"): ""}
        for number, (name, content) in enumerate(sorted(files.items())):
            path = checked(name)
            for folder in reversed(path.parents):
                if folder not in folders:
                    # The ISO 9660 names only have to be unique: every reader uses the names of an extension.
                    folders[folder] = f"{folders[folder.parent]}/D{len(folders)}"
                    disc.add_directory(folders[folder], rr_name=folder.name, joliet_path=str(folder))
            place = f"{folders[path.parent]}/F{number}.;1"
            disc.add_fp(BytesIO(content), len(content), place, rr_name=path.name, joliet_path=str(path))
        disc.write(str(target))
    except PyCdlibException as error:
        raise Refused(f"config drive: {error}") from error
    finally:
        disc.close()


def checked(name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    if not path.parts or path.is_absolute() or ".." in path.parts or "\0" in name:
        raise Refused(f"config drive: {name!r} is not a relative path")
    if max(map(len, path.parts)) > LONGEST_NAME:
        raise Refused(f"config drive: a name in {name!r} has more than {LONGEST_NAME} characters")
    return PurePosixPath("/") / path
