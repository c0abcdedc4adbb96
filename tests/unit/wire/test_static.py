import gzip

import pytest

from pileus.faces.wire import Kernel
from tests.asgi import Client


@pytest.fixture
def files(tmp_path):
    root = tmp_path / "web"
    (root / "assets").mkdir(parents=True)
    (root / "index.html").write_text("<!doctype html>")
    (root / "assets" / "main-DiwrgTda.js").write_text("let a")
    (root / "assets" / "plain.css").write_text("a{}")
    (root / "assets" / "plain.css.gz").write_bytes(gzip.compress(b"a{}"))
    (root / ".hidden").write_text("secret")
    (tmp_path / "outside.txt").write_text("secret")
    (root / "link.txt").symlink_to(tmp_path / "outside.txt")
    return root


@pytest.fixture
def client(files):
    kernel = Kernel([])
    kernel.static("/", files, fallback="index.html")
    kernel.static("/plain", files)
    return Client(kernel)


@pytest.mark.parametrize(
    ("path", "kind", "cache"),
    [
        ("/", "text/html; charset=utf-8", "no-cache"),
        ("/index.html", "text/html; charset=utf-8", "no-cache"),
        ("/servers/some-id", "text/html; charset=utf-8", "no-cache"),
        ("/assets/plain.css", "text/css; charset=utf-8", "no-cache"),
        ("/assets/main-DiwrgTda.js", "text/javascript; charset=utf-8", "public, max-age=31536000, immutable"),
    ],
)
async def test_a_file_comes_with_its_type_and_caching(client: Client, path, kind, cache):
    reply = await client.get(path)
    assert (reply.status, reply.headers["content-type"], reply.headers["cache-control"]) == (200, kind, cache)
    policy = reply.headers["content-security-policy"]
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert reply.headers["x-content-type-options"] == "nosniff"


async def test_a_page_of_the_application_may_have_a_dot(client: Client):
    reply = await client.get("/buckets/my.bucket", headers={"accept": "text/html,*/*"})
    assert (reply.status, reply.text) == (200, "<!doctype html>")


@pytest.mark.parametrize(
    "path",
    [
        "/plain/../outside.txt",
        "/plain/%2e%2e/outside.txt",
        "/plain/..%2foutside.txt",
        "/plain/assets/../../outside.txt",
        "/plain/%2e%2e%5coutside.txt",
        "/plain//etc/passwd",
        "/plain/%2fetc%2fpasswd",
        "/plain/link.txt",
        "/plain/.hidden",
        "/plain/none.js",
        "/plain/assets",
        "/plain/" + "a" * 5000,
        "/missing.js",
    ],
)
async def test_nothing_outside_is_shown(client: Client, path):
    reply = await client.get(path)
    assert (reply.status, "secret" in reply.text) == (404, False)


async def test_a_path_that_is_no_text_is_refused(client: Client):
    assert (await client.get("/plain/%00")).status == 400


async def test_an_unchanged_file_is_not_sent_again(client: Client, files):
    first = await client.get("/index.html")
    again = await client.get("/index.html", headers={"if-none-match": f'"x", W/{first.headers["etag"]}'})
    assert (again.status, again.body, again.headers["etag"]) == (304, b"", first.headers["etag"])
    (files / "index.html").write_text("<!doctype html><title>new</title>")
    changed = await client.get("/index.html", headers={"if-none-match": first.headers["etag"]})
    assert (changed.status, "new" in changed.text) == (200, True)


@pytest.mark.parametrize(("accepted", "encoding"), [("gzip, br", "gzip"), ("gzip;q=0", None), ("", None)])
async def test_a_compressed_sibling_is_used(client: Client, accepted, encoding):
    reply = await client.get("/assets/plain.css", headers={"accept-encoding": accepted})
    body = gzip.decompress(reply.body) if encoding else reply.body
    assert (reply.headers.get("content-encoding"), body) == (encoding, b"a{}")
    assert reply.headers["content-type"] == "text/css; charset=utf-8"


async def test_files_are_only_read(client: Client):
    assert (await client.post("/index.html")).status == 405
    head = await client.head("/index.html")
    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", "15")
