"""The login pages in a real browser, over a real socket, with scripts and without."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest

from tests.faces.console.gate.browsing import PASSWORD, USER, Console
from treadle.web.listen import Address, Face, Listeners

if TYPE_CHECKING:
    from playwright.async_api import Page

pytestmark = pytest.mark.needs("chromium")


@pytest.fixture
async def url(console: Console) -> AsyncIterator[str]:
    listeners = Listeners([Face("console", console.app, Address("127.0.0.1", 0))], grace=2.0)
    listeners.open()
    async with asyncio.TaskGroup() as group:
        group.create_task(listeners.serve())
        await listeners.ready.wait()
        yield listeners.urls["console"]
        listeners.stop()


async def test_a_person_logs_in_and_out(url: str) -> None:
    from playwright.async_api import async_playwright

    names = ("chromium", "chromium-browser", "google-chrome")
    program = next(found for name in names if (found := shutil.which(name)))
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        for scripts in (True, False):
            context = await browser.new_context(java_script_enabled=scripts, color_scheme="dark")
            await in_and_out(await context.new_page(), url)
            if scripts:
                await both_themes(context.pages[0])
        await browser.close()


async def in_and_out(page: Page, url: str) -> None:
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    await page.goto(f"{url}/config")
    assert page.url == f"{url}/login?next=%2Fconfig"
    await page.fill("[name=username]", USER)
    await page.fill("[name=password]", "wrong")
    await page.click("button")
    assert "is not right" in await page.inner_text("[role=alert]")
    await page.fill("[name=password]", PASSWORD)
    await page.click("button")
    assert page.url == f"{url}/config"
    await page.goto(f"{url}/login")
    assert page.url == f"{url}/"
    await page.goto(f"{url}/logout")
    assert page.url == f"{url}/login"
    assert said == []  # nothing was blocked by our own policy


async def both_themes(page: Page) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    assert await page.evaluate(ground) == "rgb(14, 17, 20)"
    await page.evaluate("localStorage.setItem('theme', 'light')")
    await page.reload()
    assert await page.evaluate(ground) == "rgb(250, 249, 247)"
