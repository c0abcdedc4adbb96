"""The fake directory does what every directory must."""

import pytest
from msgspec.structs import replace

from pileus.drivers.directory.fake import SUFFIX, FakeDirectory
from pileus.drivers.directory.protocol import Part, Settings
from tests.conformance.directory import DirectoryConformance

EVERYTHING = {
    f"{what}_allow_{verb}": True for what in ("user", "group") for verb in ("create", "update", "delete")
}


def filled(settings: Settings) -> FakeDirectory:
    made = FakeDirectory(settings)
    alice = made.put("alice", "wonderland", email="alice@example.org")
    made.put("bob", "builder", enabled=False)
    made.put_group("staff", alice)
    return made


class TestFake(DirectoryConformance):
    @pytest.fixture
    def directory(self) -> FakeDirectory:
        return filled(replace(Settings(suffix=SUFFIX), **EVERYTHING))

    @pytest.fixture
    def read_only(self) -> FakeDirectory:
        return filled(Settings(suffix=SUFFIX))

    @pytest.fixture
    def away(self) -> FakeDirectory:
        made = filled(Settings(suffix=SUFFIX))
        made.away = True
        return made

    @pytest.fixture
    def staff(self) -> Part:
        return Part("GROUP", f"cn=staff,ou=UserGroups,{SUFFIX}")

    @pytest.fixture
    def users(self) -> Part:
        return Part("OU", f"ou=Users,{SUFFIX}")
