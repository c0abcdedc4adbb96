"""What is declared and what the ledgers in specs/ say of it are the same."""

from pathlib import Path

import pytest

from pileus.app import faces
from pileus.faces.cloudstack.catalogue import CATALOGUE
from pileus.faces.cloudstack.commands import COMMANDS
from pileus.faces.wire.ledger import Entry, State, check, load
from tests.contract.openstack.conftest import packages, services

SPECS = Path(__file__).parents[2] / "specs"
CLOUDSTACK = SPECS / "cloudstack.toml"


def specs(service: str) -> Path:
    return SPECS / (f"{service}.toml" if service == "console" else f"openstack-{service}.toml")


def short(package: str) -> str:
    return package.rpartition(".")[2]


@pytest.mark.parametrize("package", packages())
def test_every_service_does_what_its_ledger_says(package: str) -> None:
    operations = [operation for service in services(package) for operation in service.operations]
    assert check(load(specs(short(package))), operations) == []


def test_cloudstack_does_what_its_ledger_says() -> None:
    ledger = load(CLOUDSTACK).operations
    served = {name for name, entry in ledger.items() if entry.state is not State.REFUSED}
    assert sorted(COMMANDS.keys() - served) == [], "declared, but not in the ledger"
    assert sorted(served - COMMANDS.keys()) == [], "in the ledger, but not declared"
    assert sorted(COMMANDS.keys() - CATALOGUE.commands.keys()) == [], "unknown to CloudStack"
    assert [name for name, entry in ledger.items() if hollow(entry)] == [], "partial, and not said how"


def hollow(entry: Entry) -> bool:
    return entry.state is State.PARTIAL and len(entry.missing.strip()) < len("why")


@pytest.mark.parametrize("path", sorted(SPECS.glob("*.toml")), ids=lambda path: path.stem)
def test_every_ledger_says_what_is_missing_and_belongs_to_a_face(path: Path) -> None:
    assert [key for key, entry in load(path).operations.items() if hollow(entry)] == []
    known = {specs(short(package)) for package in packages()} | {CLOUDSTACK}
    assert path in known


def test_the_product_serves_every_service_that_a_package_declares() -> None:
    declared = {service.name for package in packages() for service in services(package)}
    assert {service.name for service in faces.services()} == declared
