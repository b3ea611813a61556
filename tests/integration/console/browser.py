"""Debian's Chromium, headless, driven through its own chromedriver; and a console for it to look at."""

import asyncio
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait
from starlette.types import ASGIApp

from consumers.runtime.serving import serving
from deploy.local.parts.ports import LOOPBACK

WAIT_S = 20.0
MISSING = "needs a browser: apt-get install chromium chromium-driver (or run .ci/browser as root)"


@contextmanager
def chromium(language: str = "en-GB", zone: str = "UTC") -> Iterator[Chrome]:
    """A browser with a fresh profile. Fails, naming the command, where there is none."""
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    assert browser, MISSING
    assert driver, MISSING
    options = ChromeOptions()
    options.binary_location = browser
    for argument in (
        "--headless=new",
        "--no-sandbox",  # CI runs as root, where the sandbox refuses to start
        "--disable-dev-shm-usage",
        "--disable-gpu",
        "--no-proxy-server",
        "--hide-scrollbars",
        f"--lang={language}",
    ):
        options.add_argument(argument)
    options.add_experimental_option("prefs", {"intl.accept_languages": language})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    opened = Chrome(
        options, ChromeService(driver, env={"TZ": zone, "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"})
    )
    try:
        yield opened
    finally:
        opened.quit()


@contextmanager
def served(app: ASGIApp) -> Iterator[str]:
    """`app` as its process serves it, in a thread; yields the base URL."""
    address: list[str] = []
    ready, loop = threading.Event(), asyncio.new_event_loop()
    stop = asyncio.Event()

    async def serve() -> None:
        async with serving(app, LOOPBACK, 0, what="the console", setting="none") as port:
            address.append(f"http://{LOOPBACK}:{port}")
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), name="console")
    thread.start()
    try:
        assert ready.wait(WAIT_S)
        yield address[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(WAIT_S)
        loop.close()


class Console:
    """The console in a browser, in the words of somebody who uses it."""

    def __init__(self, browser: Chrome, url: str) -> None:
        self.browser = browser
        self.url = url

    def open(self, place: str = "#/", *, width: int = 1360, height: int = 900) -> None:
        """Go to a page of the console, in a window of that size."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        self.browser.get("about:blank")
        self.browser.get(f"{self.url}/{place}")

    def sign_in(self, token: str) -> None:
        """From the first page on."""
        self.find("#token").send_keys(token)
        self.find("form button[type=submit]").click()

    def go(self, place: str) -> None:
        """Follow a link within the console."""
        self.browser.execute_script("location.hash = arguments[0]", place)

    def search(self, word: str) -> None:
        box = self.find("#q")
        box.clear()
        box.send_keys(word)
        box.submit()

    def find(self, selector: str) -> WebElement:
        """The first element that is shown, once it is there."""
        self.wait(lambda: any(each.is_displayed() for each in self.all(selector)), selector)
        return next(each for each in self.all(selector) if each.is_displayed())

    def all(self, selector: str) -> list[WebElement]:
        return self.browser.find_elements(By.CSS_SELECTOR, selector)

    def wait(self, condition: Any, what: str) -> None:
        """Until `condition()` is true. A page that is being redrawn is asked again."""
        from selenium.common.exceptions import StaleElementReferenceException

        waiting = WebDriverWait(
            self.browser, WAIT_S, 0.05, ignored_exceptions=[StaleElementReferenceException]
        )
        waiting.until(lambda _: condition(), f"not seen: {what}")

    def wait_for_text(self, selector: str, text: str) -> None:
        self.wait(lambda: text in self.find(selector).text, f"{text!r} in {selector}")

    def prefer(self, **features: str) -> None:
        """What the reader's system prefers: color_scheme="dark", reduced_motion="reduce"."""
        media = [
            {"name": f"prefers-{n.replace('_', '-')}", "value": v} for n, v in features.items()
        ]
        self.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media})

    def script(self, body: str, *arguments: Any) -> Any:
        return self.browser.execute_script(body, *arguments)

    def screenshot(self, path: Path) -> None:
        """The whole page, not only what the window shows."""
        height = self.script("return document.documentElement.scrollHeight")
        width = self.script("return innerWidth")
        size = {"width": width, "height": max(height, 500), "deviceScaleFactor": 1, "mobile": False}
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        self.browser.save_screenshot(str(path))

    def complaints(self) -> list[str]:
        """What the browser complained of since the last time: refused scripts, failed loads."""
        told = self.browser.execute("getLog", {"type": "browser"})["value"]
        return [each["message"] for each in told]
