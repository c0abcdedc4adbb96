"""Long work through the console's API."""

from uuid import uuid4

from tests.contract.openstack.conftest import Person


async def test_an_operation_is_shown_to_its_project_and_to_no_other(
    member: Person, other: Person, admin: Person, deployed: str
) -> None:
    for who in (member, admin):
        shown = (await who.get(f"/console/operations/{deployed}")).json()["operation"]
        assert (shown["workflow"], shown["outcome"], shown["kind"]) == ("server.deploy", "done", "server")
    assert (await other.get(f"/console/operations/{deployed}")).status == 404
    assert (await member.get(f"/console/operations/{uuid4()}")).status == 404
