"""Chromium without a window, and what a person does with a page."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from selenium.webdriver import Chrome, ChromeOptions, Keys
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from ..integration.processes import wait_until
from ..needs import need, need_program

WIDE = (1280, 800)
NARROW = (390, 844)

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
_WATCH = """
window.violations = [];
addEventListener('securitypolicyviolation', (event) =>
    violations.push(`${event.violatedDirective} ${event.blockedURI}`));
"""


class Browser:
    """A browser with an empty profile, which remembers every violation of a page's policy."""

    def __init__(self, folder: Path) -> None:
        chromium = shutil.which("chromium") or shutil.which("chromium-browser")
        need(chromium is not None, "chromium")
        options = ChromeOptions()
        options.binary_location = chromium or ""
        for flag in (*_FLAGS, f"--user-data-dir={folder}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver: Any = Chrome(options, Service(need_program("chromedriver")))
        self.command("Page.addScriptToEvaluateOnNewDocument", source=_WATCH)

    def end(self) -> None:
        self.driver.quit()

    def command(self, name: str, **parameters: Any) -> Any:
        """A command of Chromium's own protocol."""
        return self.driver.execute_cdp_cmd(name, parameters)

    def look(self, size: tuple[int, int] = WIDE, scheme: str = "light") -> Browser:
        """Be a window, or a phone, of this size, in `light` or `dark`."""
        width, height = size
        self.command(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=size == NARROW,
        )
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.command("Emulation.setEmulatedMedia", features=[feature])
        return self

    def open(self, url: str) -> Browser:
        self.driver.get(url)
        return self

    def run(self, script: str, *arguments: Any) -> Any:
        """Run a function with this body in the page, and return its result."""
        return self.driver.execute_script(script, *arguments)

    def find(self, selector: str) -> WebElement:
        found: WebElement = self.driver.find_element(By.CSS_SELECTOR, selector)
        return found

    def texts(self, selector: str) -> list[str]:
        """Return the visible text of elements."""
        script = "return [...document.querySelectorAll(arguments[0])].map((e) => e.innerText)"
        said: list[str] = self.run(script, selector)
        return said

    def text(self, selector: str) -> str:
        # At one go: between a find and a look the page may have replaced it.
        said: str = self.run("return document.querySelector(arguments[0]).innerText", selector)
        return said.strip()

    def click(self, selector: str) -> None:
        self.find(selector).click()

    def fill(self, selector: str, text: str) -> None:
        """Type a text in the place of what a field holds."""
        field = self.find(selector)
        field.clear()
        field.send_keys(text)

    def press(self, *keys: str) -> None:
        """Press keys, wherever the focus is."""
        ActionChains(self.driver).send_keys(*keys).perform()

    def hover(self, selector: str, part: float) -> None:
        """Move the pointer there, so far from the left edge to the right one."""
        found = self.find(selector)
        offset = int(found.size["width"] * (part - 0.5))
        ActionChains(self.driver).move_to_element_with_offset(found, offset, 0).perform()

    @property
    def focus(self) -> str:
        """The id of what has the focus."""
        name: str = self.run("return document.activeElement.id")
        return name

    def wait(self, holds: Callable[[], Any], what: str) -> None:
        try:
            wait_until(holds, what)
        except AssertionError as error:
            page = self.run("return document.body.innerText")
            raise AssertionError(f"{error}; the page says:\n{page}\n{self.console}") from None

    def wait_for(self, selector: str, part: str) -> None:
        """Wait until an element says something."""
        self.wait(lambda: part in "\n".join(self.texts(selector)), f"{part!r} in {selector}")

    def wait_for_last(self, selector: str, *texts: str) -> None:
        """Wait until the last elements say this, and nothing else."""
        self.wait(lambda: self.texts(selector)[-len(texts) :] == list(texts), f"last {texts!r}")

    @property
    def console(self) -> list[str]:
        """Return the messages of the browser's console since the last call."""
        return [each["message"] for each in self.driver.get_log("browser")]

    def complaints(self) -> list[str]:
        """Leave the page, which could log more meanwhile, and return its complaints."""
        self.open("about:blank")
        return self.console

    def wait_for_complaints(self, count: int) -> list[str]:
        """Wait until it complained so often."""
        seen: list[str] = []

        def are_there() -> bool:
            seen.extend(self.console)
            return len(seen) >= count

        self.wait(are_there, f"{count} complaints")
        return seen

    @property
    def violations(self) -> list[str]:
        """How the page's policy was broken."""
        broken: list[str] = self.run("return violations")
        return broken

    def picture(self, path: Path) -> None:
        self.driver.save_screenshot(str(path))


TAB = Keys.TAB
ENTER = Keys.ENTER
ESCAPE = Keys.ESCAPE
LEFT = Keys.ARROW_LEFT
SHIFT_ENTER = Keys.SHIFT + Keys.ENTER
