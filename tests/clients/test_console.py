"""A person types on the guest's screen in the browser, and the guest has it."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.browser import browser
from tests.clients.cloud import RealCloud, until

USER_DATA = "#!/bin/sh\nchmod 666 /dev/ttyS0\n"


@pytest.fixture
def server(cloud: RealCloud, image: str, tmp_path: Path) -> Iterator[str]:
    data = tmp_path / "data"
    data.write_text(USER_DATA)
    cloud.openstack("network", "create", "screens", "-f", "json")
    cloud.openstack(
        "subnet", "create", "screens", "--network", "screens", "--subnet-range", "10.78.0.0/24", "-f", "json"
    )
    cloud.openstack(
        "server", "create", "screen", "--flavor", "tiny", "--image", image, "--network", "screens",
        "--user-data", str(data), "--use-config-drive", "--password", "s3cret-word", "--wait", "-f", "json",
    )  # fmt: skip
    until("boot", lambda: "boot finished" in cloud.openstack("console", "log", "show", "screen"), 300)
    yield "screen"
    cloud.openstack("server", "delete", "screen", "--wait")
    cloud.openstack("network", "delete", "screens")


def test_what_is_typed_in_the_browser_arrives_in_the_guest(
    cloud: RealCloud, server: str, tmp_path: Path
) -> None:
    url = cloud.openstack("console", "url", "show", "--novnc", server, "-f", "json")["url"]
    assert url.startswith(cloud.url)

    async def scene() -> None:
        async with browser() as page:
            await page.open(url)
            await page.until_text("#status", "Connected", 60)
            await page.call("Runtime.evaluate", expression="document.querySelector('#screen canvas').focus()")
            await page.type("pileus\n")
            await asyncio.sleep(2)
            await page.type("s3cret-word\n")
            await asyncio.sleep(2)
            await page.type(
                "echo typed-$((40+2)) | su -c 'cat > /dev/ttyS0' pileus || echo typed-42 > /dev/ttyS0\n"
            )
            await page.screenshot(tmp_path / "screen.png")
            for _ in range(100):
                if "typed-42" in await asyncio.to_thread(cloud.openstack, "console", "log", "show", server):
                    return
                await asyncio.sleep(0.3)
            raise AssertionError("the line did not arrive in the guest")

    asyncio.run(scene())


def test_a_console_link_works_once(cloud: RealCloud, server: str) -> None:
    url = cloud.openstack("console", "url", "show", "--novnc", server, "-f", "json")["url"]

    async def scene() -> None:
        async with browser() as page:
            await page.open(url)
            await page.until_text("#status", "Connected", 60)
            await page.open("about:blank")
            await page.open(url)
            await page.until_text(
                "#status",
                "Not connected: the link was used, is too old, or the server is off. Ask for a new one.",
                60,
            )

    asyncio.run(scene())
