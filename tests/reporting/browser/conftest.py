"""A headless Chromium for tests, driven over its DevTools protocol through two pipes: no port, no driver, no package.

https://chromedevtools.github.io/devtools-protocol: messages are JSON, each ended by a zero byte. The browser reads
them from file descriptor 3 and answers on 4.
"""

import base64
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
# What a page of one's own does not need: no network, no GPU, no first start.
FLAGS = (
    "--headless=new",
    "--remote-debugging-pipe",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--disable-sync",
    "--no-first-run",
    "--no-default-browser-check",
    "--hide-scrollbars",
    "--force-device-scale-factor=1",
)
PATIENCE = 60.0


def find():
    """The program, or None where there is none."""
    given = os.environ.get("SPARRING_CHROMIUM")
    return given or next((path for name in NAMES if (path := shutil.which(name))), None)


class Browser:
    """One page at a time, and all that it complained of."""

    def __init__(self, program, profile):
        # Where root may not have a sandbox of its own, as in containers, Chromium wants to be told.
        flags = [*FLAGS, *(["--no-sandbox"] if os.geteuid() == 0 else []), f"--user-data-dir={profile}", "about:blank"]
        there, self._to = os.pipe()
        self._from, back = os.pipe()
        # The shell puts the ends of the pipes where Chromium looks for them.
        move = f'exec "$0" "$@" 3<&{there} 4>&{back}'
        self._log = (Path(profile).parent / "chromium.log").open("wb")
        self._process = subprocess.Popen(
            ["bash", "-c", move, program, *flags], pass_fds=(there, back), stdout=self._log, stderr=self._log
        )
        os.close(there)
        os.close(back)
        self._number, self._rest, self.complaints, self.requests, self._events = 0, b"", [], [], []
        target = self._ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._ask(f"{domain}.enable")

    def close(self):
        os.close(self._to)  # Chromium leaves when nobody is left to ask it
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._from)
        self._log.close()

    # --- a page -------------------------------------------------------------------------------------------------------

    def open(self, path, *, width=1280, height=900, touch=False):
        self.complaints, self.requests, self._events = [], [], []
        self._ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=touch)
        self._ask("Emulation.setTouchEmulationEnabled", enabled=touch)
        self._ask("Page.navigate", url=Path(path).resolve().as_uri())
        deadline = time.monotonic() + PATIENCE
        while "Page.loadEventFired" not in self._events:
            self._take(self._receive(deadline))

    def run(self, expression):
        """The value of a JavaScript expression in the page."""
        answer = self._ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise AssertionError(f"{expression}: {answer['exceptionDetails']['exception'].get('description')}")
        return answer["result"].get("value")

    def mouse(self, kind, x, y, **options):
        self._ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, **options)

    def click(self, x, y):
        self.mouse("mouseMoved", x, y)
        for kind in ("mousePressed", "mouseReleased"):
            self.mouse(kind, x, y, button="left", clickCount=1)

    def drag(self, x, y, across, down):
        self.mouse("mouseMoved", x, y)
        self.mouse("mousePressed", x, y, button="left", clickCount=1)
        self.mouse("mouseMoved", x + across, y + down, button="left", buttons=1)
        self.mouse("mouseReleased", x + across, y + down, button="left", clickCount=1)

    def touch(self, *points):
        """A finger that comes down at the first point, goes to all others, and leaves."""
        for number, (x, y) in enumerate(points):
            kind = "touchMove" if number else "touchStart"
            self._ask("Input.dispatchTouchEvent", type=kind, touchPoints=[{"x": x, "y": y}])
        self._ask("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])

    def press(self, key):
        for kind in ("keyDown", "keyUp"):
            self._ask("Input.dispatchKeyEvent", type=kind, key=key, code=key)

    def screenshot(self, path, *, clip=None):
        options = {} if clip is None else {"clip": {**clip, "scale": 1}}
        found = self._ask("Page.captureScreenshot", captureBeyondViewport=True, **options)
        Path(path).write_bytes(base64.b64decode(found["data"]))

    # --- the protocol -------------------------------------------------------------------------------------------------

    def _ask(self, method, **parameters):
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if hasattr(self, "_session"):
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + PATIENCE
        while True:
            answer = self._receive(deadline)
            if answer.get("id") == self._number:
                break
            self._take(answer)
        if "error" in answer:
            raise AssertionError(f"{method}: {answer['error']['message']}")
        return answer["result"]

    def _take(self, message):
        method, parameters = message.get("method"), message.get("params", {})
        self._events.append(method)
        if method == "Runtime.exceptionThrown":
            details = parameters["exceptionDetails"]
            self.complaints.append(details.get("exception", {}).get("description", details["text"]))
        elif method == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "warning", "assert"):
            self.complaints.append(str(parameters["args"]))
        elif method == "Log.entryAdded" and parameters["entry"]["level"] in ("error", "warning"):
            self.complaints.append(parameters["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            self.requests.append(parameters["request"]["url"][:200])

    def _receive(self, deadline):
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._from], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise TimeoutError(f"Chromium has not answered for {PATIENCE:g} s; it said: {self._said()}")
            piece = os.read(self._from, 1 << 16)
            if not piece:
                raise RuntimeError(f"Chromium has ended; it said: {self._said()}")
            self._rest += piece
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)

    def _said(self):
        return Path(self._log.name).read_text(errors="replace")[-2000:]


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    program = find()
    if program is None:
        names = ", ".join(NAMES)
        pytest.skip(f"no Chromium to look at the page with: none of {names} is on the PATH; or set SPARRING_CHROMIUM")
    opened = Browser(program, tmp_path_factory.mktemp("chromium") / "profile")
    yield opened
    opened.close()
