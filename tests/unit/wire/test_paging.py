import pytest

from pileus.core.errors import Invalid
from pileus.faces.wire import Request, page, window

from .conftest import KEY


def request(query: str = "") -> Request:
    scope = {"path": "/v/é", "headers": [(b"host", b"h")], "query_string": query.encode(), "method": "GET"}
    return Request(scope, None)  # type: ignore[arg-type]


@pytest.mark.parametrize(("limit", "size"), [(None, 1000), (5, 5), (0, 0), (1000, 1000), (5000, 1000)])
def test_a_page_is_as_long_as_asked_up_to_a_maximum(limit, size):
    assert window(limit, 1000) == size


def test_a_negative_page_is_invalid():
    with pytest.raises(Invalid):
        window(-1, 1000)


def walk(items: list[str], limit: int | None, maximum: int) -> list[list[str]]:
    """Follow the links as a client does."""
    from urllib.parse import parse_qs, urlsplit

    pages, query = [], f"status=a%26b&limit={limit}" if limit else "status=a%26b"
    while len(pages) <= len(items):
        asked = request(query)
        given = asked.query.get("limit")
        found = page(
            asked, items, int(given) if given else None, maximum, key=str, marker=asked.query.get("marker")
        )
        pages.append(list(found.items))
        if found.next is None:
            break
        query = urlsplit(found.next).query
        assert parse_qs(query)["status"] == ["a&b"]
    return pages


@pytest.mark.parametrize("count", range(7))
@pytest.mark.parametrize("limit", [None, 1, 2, 3, 6, 7])
def test_following_the_links_shows_everything_once(count, limit):
    items = [str(number) for number in range(count)]
    pages = walk(items, limit, 3)
    assert [item for shown in pages for item in shown] == items
    assert all(len(shown) <= min(limit or 3, 3) for shown in pages)
    assert len(pages) == max(1, -(-count // min(limit or 3, 3)))


def test_items_from_behind_the_marker_need_one_more_than_the_page():
    found = page(request("marker=1&limit=2"), ["2", "3", "4"], 2, 10, key=str)
    assert found.items == ["2", "3"]
    href = "http://h/v/%C3%A9?marker=3&limit=2"
    assert found.links("servers") == {"servers_links": [{"rel": "next", "href": href}]}


def test_the_last_page_has_no_link():
    assert page(request(), ["1"], 1, 10, key=str).links("servers") == {}


def test_an_empty_page_has_no_link():
    assert page(request("limit=0"), ["1"], 0, 10, key=str).links("servers") == {}


def test_an_unknown_marker_is_invalid():
    with pytest.raises(Invalid, match=str(KEY)):
        page(request(), ["1"], 1, 10, key=str, marker=str(KEY))
