"""The thread that speaks to OVN's database, when that accepts and never answers."""

import socket
from pathlib import Path

import pytest

pytest.importorskip("ovs")

from pileus.drivers.errors import Unreachable
from pileus.drivers.network.ovn import link


async def test_a_database_that_never_answers_is_told_from_one_that_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "TURN", 0.3)
    place = tmp_path / "nb.sock"
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(place))
        silent.listen()
        hung = link.Link(place, patience=0.05)
        try:
            for _ in range(2):
                with pytest.raises(Unreachable, match=r"it hangs in reading the schema for \d+ s$"):
                    await hung.look(lambda replica: None)
        finally:
            silent.shutdown(socket.SHUT_RDWR)
            silent.close()
            place.unlink()
            await hung.close()
