"""Debian's Chromium, driven by Selenium, with its own driver: nothing is fetched for it.

Where there is none, the tests that need one are skipped and say so; with TEST_BROWSER=required they fail. `.ci/run`
installs it where it can, and asks for it only then.
"""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
AXE = Path(__file__).parent.parent / "clients" / "node_modules" / "axe-core" / "axe.min.js"

WIDTHS = {"desktop": (1280, 900), "phone": (390, 844)}
SCHEMES = ("light", "dark")

MISSING = "no chromium and chromedriver here (Debian: apt-get install chromium chromium-driver)"


def need_browser() -> None:
    """Skip the test where there is no browser, unless one is asked for."""
    if CHROMIUM is None or DRIVER is None:
        if os.environ.get("TEST_BROWSER") == "required":
            pytest.fail(MISSING)
        pytest.skip(MISSING)


def start(profile: Path, *, javascript: bool = True) -> Any:
    """A browser of its own, with nothing of anybody's."""
    options = Options()
    options.binary_location = str(CHROMIUM)
    for argument in (
        "--headless=new",
        # There is no user to be kept apart from, and root may not have the sandbox.
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--disable-gpu",
        "--disable-background-networking",
        "--no-first-run",
        "--force-device-scale-factor=1",
        f"--user-data-dir={profile}",
    ):
        options.add_argument(argument)
    options.add_experimental_option("prefs", {"download.default_directory": str(profile / "downloads")})
    if not javascript:
        options.add_experimental_option("prefs", {"profile.managed_default_content_settings.javascript": 2})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(options=options, service=Service(str(DRIVER)))


def show_as(driver: Any, scheme: str, width: str) -> None:
    """As a device of a width, which likes a scheme, shows it."""
    wide, high = WIDTHS[width]
    driver.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
    driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": wide, "height": high, "deviceScaleFactor": 1, "mobile": width == "phone"},
    )


def violations(driver: Any) -> list[str]:
    """What axe-core finds wrong with the page, in its words."""
    driver.execute_script(AXE.read_text())
    found = driver.execute_async_script("axe.run().then(arguments[0], (error) => arguments[0]({violations: [error]}))")
    return [
        f"{one['id']}: {one['help']}: {[node['html'][:150] for node in one['nodes'][:3]]}"
        for one in found["violations"]
    ]
