import pytest

from pileus.faces.wire import Request, Service
from pileus.faces.wire.ledger import check, load

HEADER = """
[operations."GET /servers"]
state = "full"
[operations."GET /servers/{id}"]
state = "partial"
missing = "the fault"
[operations."POST /servers/{id}/action os-start"]
state = "full"
[operations."DELETE /extensions"]
state = "refused"
"""
CASES = {
    "agreement": ("", []),
    "not registered": (
        '[operations."GET /a"]\nstate = "full"',
        ["GET /a: full in the ledger, but not registered"],
    ),
    "not registered part": (
        '[operations."GET /a"]\nstate = "partial"\nmissing = "b"',
        ["GET /a: partial in the ledger, but not registered"],
    ),
    "refused": (
        '[operations."GET /images"]\nstate = "refused"',
        ["GET /images: refused in the ledger, but registered"],
    ),
    "unexplained": (
        '[operations."GET /images"]\nstate = "partial"',
        ["GET /images: partial, but the ledger does not say what is missing"],
    ),
}


async def handler(request: Request) -> None: ...


def service(*more: str) -> Service:
    found = Service("s", "/s", public=True)
    for path in ("/servers", "/servers/{server}", *more):
        found.operation("GET", path)(handler)
    found.action("/servers/{server}/action", "os-start")(handler)
    return found


@pytest.mark.parametrize("case", CASES)
def test_every_disagreement_is_named(tmp_path, case):
    text, told = CASES[case]
    path = tmp_path / "face.toml"
    path.write_text(HEADER + text)
    more = ("/images",) if "/images" in text else ()
    assert check(load(path), service(*more).operations) == told


def test_what_is_registered_must_be_listed(tmp_path):
    path = tmp_path / "face.toml"
    path.write_text(HEADER)
    found = check(load(path), service("/images").operations)
    assert found == ["GET /images: registered, but not in the ledger"]


def test_one_operation_under_two_names_is_told(tmp_path):
    path = tmp_path / "face.toml"
    path.write_text(HEADER + '[operations."GET /servers/{other}"]\nstate = "full"')
    assert "twice" in check(load(path), service().operations)[0]


@pytest.mark.parametrize(
    "text",
    ['[operations."GET /a"]\nstate = "nearly"', '[operations."GET /a"]\n', "[operation]\n", "x = [", "\xff"],
)
def test_a_malformed_ledger_is_named(tmp_path, text):
    path = tmp_path / "face.toml"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=r"face\.toml"):
        load(path)
