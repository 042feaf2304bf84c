"""Headless Chromium over the DevTools protocol's pipe, and a loopback server that notes what it is asked for.

https://chromedevtools.github.io/devtools-protocol. The pipe needs no WebSocket, so no package.
"""

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NoReturn

import pytest

REQUIRED = "CUMEL_REQUIRE_CHROMIUM"  # when set, a test that lacks Chromium or its runtime fails where it would skip
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless=new",
    "--no-sandbox",  # root cannot use it
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--remote-debugging-pipe",
)
PIPES = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); os.execv(sys.argv[3], sys.argv[3:])"
)
WATCHED = [{"type": "service_worker", "exclude": True}, {}]  # one that waits for us holds up the page it is to serve
_PORTS: set[int] = set()  # ports of all servers so far
PATIENCE = 60  # seconds for one answer; the slowest takes 3


def lack(what: str) -> NoReturn:
    """Skip the test, or fail it where a browser is required."""
    if os.environ.get(REQUIRED):
        pytest.fail(f"{REQUIRED} is set, but {what}", pytrace=False)
    pytest.skip(what)


def chromium() -> str:
    """Return the path of a Chromium."""
    found = [path for path in map(shutil.which, PROGRAMS) if path]
    return found[0] if found else lack(f"there is none of {', '.join(PROGRAMS)} here")


class Browser:
    """A Chromium with one page. `events` are what it reported since the last `open`."""

    def __init__(self, program: str, profile: Path, *flags: str) -> None:
        ours, theirs = os.pipe(), os.pipe()  # (read, write): to Chromium, and from it
        command = [program, *FLAGS, f"--user-data-dir={profile}", *flags, "about:blank"]
        # Chromium reads descriptor 3 and writes 4; higher numbers first, so that neither is overwritten
        handed = (os.dup(ours[0]), os.dup(theirs[1]))
        self._process = subprocess.Popen(
            [sys.executable, "-c", PIPES, *map(str, handed), *command],
            pass_fds=handed,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for descriptor in (*handed, ours[0], theirs[1]):
            os.close(descriptor)
        self._to, self._from, self._buffer, self._last = ours[1], theirs[0], b"", 0
        self.events: list[dict[str, Any]] = []
        self.workers: list[str] = []  # sessions
        (target,) = [t for t in self.call("Target.getTargets")["targetInfos"] if t["type"] == "page"]
        self.page = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)["sessionId"]
        self._watch(self.page)
        self("Page.enable")
        self("Page.setLifecycleEventsEnabled", enabled=True)

    def _watch(self, session: str) -> None:
        for domain in ("Network", "Runtime", "Log"):
            self._send(f"{domain}.enable", session)
        options = {"autoAttach": True, "flatten": True, "waitForDebuggerOnStart": True, "filter": WATCHED}
        self._send("Target.setAutoAttach", session, **options)
        self._send("Runtime.runIfWaitingForDebugger", session)

    def _send(self, method: str, session: str | None, **parameters: Any) -> int:
        self._last += 1
        message = {"id": self._last, "method": method, "params": parameters}
        text = json.dumps(message | ({"sessionId": session} if session else {})).encode() + b"\0"
        while text:
            text = text[os.write(self._to, text) :]
        return self._last

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._from], [], [], PATIENCE)
            assert ready, f"Chromium says nothing for {PATIENCE} s"
            block = os.read(self._from, 1 << 20)
            assert block, f"Chromium ended with {self._process.wait()}"
            self._buffer += block
        text, self._buffer = self._buffer.split(b"\0", 1)
        message = json.loads(text)
        if "id" not in message:
            self.events.append(message)
            if message["method"] == "Target.attachedToTarget" and message.get("sessionId"):
                self.workers.append(message["params"]["sessionId"])
                self._watch(self.workers[-1])
        return message

    def call(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """Carry out a method of the protocol and return its result."""
        number = self._send(method, session, **parameters)
        while (message := self._receive()).get("id") != number:
            pass
        assert "error" not in message, f"{method}: {message['error']}"
        return message["result"]

    def __call__(self, method: str, **parameters: Any) -> dict[str, Any]:
        """`call` for the page."""
        return self.call(method, self.page, **parameters)

    def evaluate(self, expression: str, session: str | None = None) -> Any:
        """Return the value of a JavaScript expression; a promise is waited for."""
        options = {"awaitPromise": True, "returnByValue": True, "userGesture": True}
        result = self.call("Runtime.evaluate", session or self.page, expression=expression, **options)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def wait_for(self, condition: str) -> None:
        """Return once a JavaScript condition holds; it is looked at in every frame."""
        self.evaluate(f"new Promise((done) => {{ const f = () => ({condition}) ? done() : setTimeout(f, 10); f(); }})")

    def open(self, address: str) -> None:
        """Load a page."""
        self._load("about:blank")  # Nothing of the last page may be taken for the next one's.
        self.events.clear()
        self.workers.clear()
        self._load(address)

    def _load(self, address: str) -> None:
        loader = self("Page.navigate", url=address)["loaderId"]
        done = {"loaderId": loader, "name": "load"}
        while not any(event.items() >= done.items() for event in self.parameters("Page.lifecycleEvent")):
            self._receive()

    def drop(self, path: Path, selector: str) -> None:
        """Drop a file on the middle of an element, as a hand would."""
        box = self.evaluate(f"document.querySelector({selector!r}).getBoundingClientRect().toJSON()")
        data = {"items": [], "files": [str(path)], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
            self("Input.dispatchDragEvent", type=kind, x=x, y=y, data=data)

    def choose(self, path: Path, selector: str) -> None:
        """Give a file to an <input>."""
        root = self("DOM.getDocument")["root"]["nodeId"]
        node = self("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self("DOM.setFileInputFiles", nodeId=node, files=[str(path)])

    def screenshot(self, path: Path, width: int, height: int | None, *, dark: bool = False, scale: float = 2) -> None:
        """Save what a screen of this width shows; of all its height, unless one is given."""
        metrics = {"width": width, "deviceScaleFactor": scale, "mobile": width < 600}
        self(
            "Emulation.setEmulatedMedia",
            features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}],
        )
        self("Emulation.setDeviceMetricsOverride", height=height or 800, **metrics)
        height = height or self.evaluate("document.documentElement.scrollHeight")
        self("Emulation.setDeviceMetricsOverride", height=height, **metrics)
        self.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        path.write_bytes(base64.b64decode(self("Page.captureScreenshot")["data"]))

    def parameters(self, method: str) -> list[dict[str, Any]]:
        """Return what was reported under a name since the last `open`, by the page and by its workers."""
        return [event["params"] for event in self.events if event["method"] == method]

    @property
    def requested(self) -> list[str]:
        """Addresses that were asked for."""
        return [asked["request"]["url"] for asked in self.parameters("Network.requestWillBeSent")]

    @property
    def complaints(self) -> list[str]:
        """What the console would show as an error or a warning."""
        said = [entry["entry"] for entry in self.parameters("Log.entryAdded")]
        said += self.parameters("Runtime.consoleAPICalled")
        bad = [one for one in said if one.get("level", one.get("type")) in ("error", "warning", "assert")]
        return [json.dumps(one) for one in bad + self.parameters("Runtime.exceptionThrown")]

    def close(self) -> None:
        """End Chromium."""
        try:
            self._send("Browser.close", None)
            self._process.wait(PATIENCE)
        finally:
            self._process.kill()
            self._process.wait()
            os.close(self._to)
            os.close(self._from)


class _Noting(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        self.server.asked.append(self.path)  # type: ignore[attr-defined]


def _server(folder: Path) -> ThreadingHTTPServer:
    """Return a server on a port that none had before: a browser keeps a site by its address."""
    refused = []
    while (server := ThreadingHTTPServer(("127.0.0.1", 0), partial(_Noting, directory=folder))).server_port in _PORTS:
        refused.append(server)
    for other in refused:
        other.server_close()
    _PORTS.add(server.server_port)
    return server


@contextmanager
def serving(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Serve a folder as ``python -m http.server`` does; yields its address and the paths it is asked for."""
    server = _server(folder)
    server.asked = []  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", server.asked  # type: ignore[attr-defined]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
