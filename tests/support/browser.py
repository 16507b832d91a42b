"""Headless Chromium, driven through its DevTools protocol over two pipes: no port, no driver, no library of ours."""

import base64
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

PROGRAMS = ("chromium-headless-shell", "chromium")
# It runs as root too, and in containers whose /dev/shm is small. What it would ask the world is off.
OPTIONS = ("--headless", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--hide-scrollbars", "--no-first-run",
           "--disable-background-networking", "--disable-component-update", "--disable-default-apps", "--disable-extensions", "--disable-sync",
           "--disable-features=MediaRouter,OptimizationHints,Translate", "--force-color-profile=srgb", "--lang=en-GB",
           "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--remote-debugging-pipe")
# Chromium wants its pipes as descriptors 3 and 4.
LAUNCH = "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); os.execv(sys.argv[3], sys.argv[3:])"
PATIENCE = 60.0  # seconds, for everything: the machine may be busy
KEYS = {"Tab": 9, "Enter": 13, "Escape": 27, "Space": 32, "ArrowDown": 40, "End": 35}


def program():
    """The browser's path, or None. A machine without one cannot run these tests."""
    for name in (os.environ.get("BULKHEAD_CHROMIUM"), *PROGRAMS):
        if name and shutil.which(name):
            return shutil.which(name)
    return None


def high(descriptor):
    """The same, out of the way of 3 and 4."""
    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD, 20)
    os.close(descriptor)
    return moved


class Browser:
    def __init__(self):
        self._profile = tempfile.TemporaryDirectory(prefix="bulkhead-browser-", ignore_cleanup_errors=True)
        theirs_in, ours_out = map(high, os.pipe())
        ours_in, theirs_out = map(high, os.pipe())
        self._log = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            [sys.executable, "-c", LAUNCH, str(theirs_in), str(theirs_out), program(), *OPTIONS, f"--user-data-dir={self._profile.name}"],
            stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log, pass_fds=(theirs_in, theirs_out), start_new_session=True,
            env={**os.environ, "HOME": self._profile.name})
        os.close(theirs_in)
        os.close(theirs_out)
        self._out, self._in = os.fdopen(ours_out, "wb"), os.fdopen(ours_in, "rb")
        self._news = threading.Condition()
        self._number, self._answers, self._events, self._closed = 0, {}, [], False
        threading.Thread(target=self._read, daemon=True).start()
        self.call("Browser.getVersion")

    def _read(self):
        rest = b""
        while True:
            try:
                piece = os.read(self._in.fileno(), 1 << 20)
            except (OSError, ValueError):
                piece = b""
            with self._news:
                if not piece:
                    self._closed = True
                    self._news.notify_all()
                    return
                *messages, rest = (rest + piece).split(b"\0")
                for message in map(json.loads, messages):
                    if "id" in message:
                        self._answers[message["id"]] = message
                    else:
                        self._events.append(message)
                self._news.notify_all()

    def call(self, method, session=None, **parameters):
        with self._news:
            self._number += 1
            number = self._number
        message = {"id": number, "method": method, "params": parameters, **({"sessionId": session} if session else {})}
        self._out.write(json.dumps(message).encode() + b"\0")
        self._out.flush()
        deadline = time.monotonic() + PATIENCE
        with self._news:
            while number not in self._answers:
                if self._closed or time.monotonic() > deadline:
                    self._log.seek(0)
                    raise AssertionError(f"the browser did not answer {method}: {self._log.read()[-2000:].decode(errors='replace')}")
                self._news.wait(1.0)
            answer = self._answers.pop(number)
        if "error" in answer:
            raise AssertionError(f"{method}: {answer['error']['message']}")
        return answer["result"]

    def events(self, session, method):
        with self._news:
            return [event["params"] for event in self._events if event.get("sessionId") == session and event["method"] == method]

    def open(self, url, **more):
        """A new page in a profile of its own: no key, no history."""
        return Page(self, url, **more)

    def stop(self):
        try:
            self.call("Browser.close")
        except (AssertionError, OSError):
            pass
        # Its group is its own, and the number of that is nobody else's before the process is reaped.
        deadline = time.monotonic() + 20
        while os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None and time.monotonic() < deadline:
            time.sleep(0.02)
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._out.close()
        self._profile.cleanup()


class Page:
    def __init__(self, browser, url, width=1360, height=900, dark=False, scale=1, touch=False):
        self._browser = browser
        self._context = browser.call("Target.createBrowserContext")["browserContextId"]
        self._target = browser.call("Target.createTarget", url="about:blank", browserContextId=self._context)["targetId"]
        self._session = browser.call("Target.attachToTarget", targetId=self._target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.resize(width, height, scale, touch)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])
        self.go(url)

    def call(self, method, **parameters):
        return self._browser.call(method, self._session, **parameters)

    def resize(self, width, height, scale=1, touch=False):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=touch)

    def go(self, url):
        self.call("Page.navigate", url=url)
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'")

    def reload(self):
        self.evaluate("window.before = true")
        self.call("Page.reload")
        self.wait("!window.before && document.readyState === 'complete'")

    def close(self):
        self._browser.call("Target.closeTarget", targetId=self._target)
        self._browser.call("Target.disposeBrowserContext", browserContextId=self._context)

    # ---- looking ----

    def evaluate(self, expression):
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, (expression, result["exceptionDetails"])
        return result["result"].get("value")

    def wait(self, expression, what=None, timeout=PATIENCE):
        """Until the expression is true; gives its value, or True for an element."""
        asked = f"((value) => value instanceof Node || value)({expression})"
        deadline = time.monotonic() + timeout
        while True:
            try:
                value = self.evaluate(asked)
            except AssertionError:
                value = None  # between two documents, or an element that is still to come
            if value:
                return value
            if time.monotonic() > deadline:
                raise AssertionError(f"{what or expression} did not come true within {timeout} s; the page says:\n{self.text()[:4000]}\n{self.complaints()}")
            time.sleep(0.05)

    def text(self, selector="body"):
        return self.evaluate(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''")

    def texts(self, selector):
        return self.evaluate(f"[...document.querySelectorAll({json.dumps(selector)})].map((one) => one.innerText)")

    def complaints(self):
        """Whatever the console would show as an error or a warning, and exceptions."""
        said = [f"{entry['entry']['level']}: {entry['entry']['text']} {entry['entry'].get('url', '')}"
                for entry in self._browser.events(self._session, "Log.entryAdded") if entry["entry"]["level"] in ("error", "warning")]
        said += [f"console.{call['type']}: {[one.get('value', one.get('description')) for one in call['args']]}"
                 for call in self._browser.events(self._session, "Runtime.consoleAPICalled") if call["type"] in ("error", "warning", "assert")]
        said += [f"exception: {thrown['exceptionDetails'].get('exception', {}).get('description', thrown['exceptionDetails']['text'])}"
                 for thrown in self._browser.events(self._session, "Runtime.exceptionThrown")]
        return said

    def requests(self):
        return [sent["request"] for sent in self._browser.events(self._session, "Network.requestWillBeSent")]

    def screenshot(self, path):
        image = self.call("Page.captureScreenshot", format="png", optimizeForSpeed=False)
        with open(path, "wb") as file:
            file.write(base64.b64decode(image["data"]))

    # ---- doing ----

    def click(self, selector):
        """With the pointer, where it is: what is covered or out of sight is not clicked."""
        where = self.wait(f"""(() => {{
            const one = document.querySelector({json.dumps(selector)});
            if (!one || one.disabled) return null;
            one.scrollIntoView({{ block: 'center', behavior: 'instant' }});
            const box = one.getBoundingClientRect();
            const at = {{ x: box.x + box.width / 2, y: box.y + box.height / 2 }};
            const hit = document.elementFromPoint(at.x, at.y);
            return hit && (one.contains(hit) || hit.contains(one)) ? at : null;
        }})()""", f"something to click at {selector}")
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **where)

    def press(self, key, shift=False):
        code = KEYS[key]
        text = {"Enter": "\r", "Space": " "}.get(key)
        named = {"key": " " if key == "Space" else key, "code": key, "windowsVirtualKeyCode": code, "modifiers": 8 if shift else 0}
        self.call("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", **named, **({"text": text} if text else {}))
        self.call("Input.dispatchKeyEvent", type="keyUp", **named)

    def type(self, text):
        self.call("Input.insertText", text=text)

    def tab_to(self, condition, most=200):
        """Presses Tab until the element with the focus (`it`) is the one wanted."""
        for _ in range(most):
            if self.evaluate(f"((it) => Boolean({condition}))(document.activeElement)"):
                return
            self.press("Tab")
        raise AssertionError(f"{most} times Tab do not lead to {condition}")
