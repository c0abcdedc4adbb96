"""Headless Chromium over its DevTools protocol: open a page, type, look."""

import asyncio
import base64
import json
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import websockets

OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--remote-debugging-port=0", "--window-size=1100,800",
)  # fmt: skip


SHIFTED = frozenset('~!@#$%^&*()_+{}|:"<>?')


class Page:
    def __init__(self, socket: Any) -> None:
        self._socket, self._number = socket, 0

    async def call(self, method: str, **parameters: Any) -> Any:
        self._number += 1
        await self._socket.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        while True:
            answer = json.loads(await asyncio.wait_for(self._socket.recv(), 30))
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]

    async def open(self, url: str) -> None:
        await self.call("Page.navigate", url=url)

    async def text(self, selector: str) -> str:
        expression = f"(document.querySelector({json.dumps(selector)}) || {{}}).textContent || ''"
        result = await self.call("Runtime.evaluate", expression=expression)
        return str(result["result"].get("value", ""))

    async def until_text(self, selector: str, wanted: str, seconds: float = 30) -> None:
        deadline = time.monotonic() + seconds
        while (shown := await self.text(selector)) != wanted:
            assert time.monotonic() < deadline, f"{selector} shows {shown!r}, not {wanted!r}"
            await asyncio.sleep(0.1)

    async def type(self, text: str) -> None:
        """Key by key, as a person does on a US keyboard; a newline is the Enter key."""
        for letter in text:
            shifted = letter.isupper() or letter in SHIFTED
            if shifted:
                await self._key("keyDown", key="Shift", code="ShiftLeft", windowsVirtualKeyCode=16)
            if letter == "\n":
                await self._press(key="Enter", code="Enter", windowsVirtualKeyCode=13, text="\r")
            else:
                await self._press(key=letter, text=letter)
            if shifted:
                await self._key("keyUp", key="Shift", code="ShiftLeft", windowsVirtualKeyCode=16)

    async def _press(self, **key: Any) -> None:
        await self._key("keyDown", **key)
        await self._key("keyUp", **{name: value for name, value in key.items() if name != "text"})

    async def _key(self, kind: str, **key: Any) -> None:
        await self.call("Input.dispatchKeyEvent", type=kind, **key)
        await asyncio.sleep(0.01)

    async def screenshot(self, path: Path) -> None:
        shot = await self.call("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(shot["data"]))


@asynccontextmanager
async def browser() -> AsyncIterator[Page]:
    profile = Path(tempfile.mkdtemp(prefix="chromium-"))
    program = shutil.which("chromium")
    assert program, "chromium is not installed: run tools/install test"
    child = subprocess.Popen(
        [program, *OPTIONS, f"--user-data-dir={profile}", "about:blank"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        port = await _port(profile, child)
        listed = json.loads(urllib.request.urlopen(f"http://127.0.0.1:{port}/json", timeout=10).read())
        target = next(each for each in listed if each["type"] == "page")
        async with websockets.connect(target["webSocketDebuggerUrl"], max_size=64 << 20) as socket:
            yield Page(socket)
    finally:
        child.terminate()
        child.wait(20)
        shutil.rmtree(profile, ignore_errors=True)


async def _port(profile: Path, child: "subprocess.Popen[bytes]") -> int:
    deadline = time.monotonic() + 60
    file = profile / "DevToolsActivePort"
    while not (file.exists() and file.read_text().strip()):
        assert child.poll() is None, "chromium ended while it started"
        assert time.monotonic() < deadline, "chromium did not start"
        await asyncio.sleep(0.1)
    return int(file.read_text().splitlines()[0])
