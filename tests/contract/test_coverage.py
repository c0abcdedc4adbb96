"""What is declared has been seen to work: every operation was answered with success by some contract test."""

import pytest

from pileus.faces.cloudstack.commands import COMMANDS
from pileus.faces.wire import Service
from pileus.faces.wire.ledger import load, plain
from tests.contract.answered import ANSWERED
from tests.contract.openstack.conftest import packages, services
from tests.contract.test_ledgers import specs

ALWAYS_REFUSED = "always refused"
"""How a ledger's `missing` begins for what is declared only to say why not."""

pytestmark = pytest.mark.usefixtures("whole")


@pytest.mark.parametrize("package", packages())
def test_every_operation_was_answered_with_success(package: str) -> None:
    missing = [
        f"{service.name}: {operation.key}"
        for service in services(package)
        for operation in service.operations
        if (service.prefix, operation.key) not in ANSWERED.operations
        if operation.key not in refused(service)
    ]
    assert not missing, f"{len(missing)} never answered with success:\n" + "\n".join(missing)


def refused(service: Service) -> set[str]:
    ledger = load(specs(service.name.removesuffix("-root"))).operations
    shapes = {plain(key) for key, entry in ledger.items() if entry.missing.startswith(ALWAYS_REFUSED)}
    return {operation.key for operation in service.operations if plain(operation.key) in shapes}


def test_every_command_was_answered_with_success() -> None:
    answered = {name for prefix, name in ANSWERED.operations if prefix == "/client/api"}
    missing = sorted(COMMANDS.keys() - answered)
    assert not missing, f"{len(missing)} never answered with success: {', '.join(missing)}"
