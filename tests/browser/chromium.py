"""A page of ours in a real browser."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from playwright.async_api import Page, async_playwright, expect

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
WAIT_MS_MAX = 15_000  # more than a page lets an answer be taken back in
HOSTILE = "<img src=x onerror=\"document.title='stolen'\"><script>document.title='stolen'</script>"

needed = pytest.mark.skipif(BROWSER is None, reason="there is no Chromium: `apt-get install chromium`")


@asynccontextmanager
async def browsed(url: str, *, expected: frozenset[int] = frozenset()) -> AsyncIterator[Page]:
    """The page; at the end: nothing failed in it but answers of the expected statuses, nothing broke its policy."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        page = await browser.new_page()
        page.set_default_timeout(WAIT_MS_MAX)
        expect.set_options(timeout=WAIT_MS_MAX)
        wrong: list[str] = []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
        await page.goto(f"{url}/console")
        yield page
        refused = tuple(f"the server responded with a status of {status}" for status in expected)
        assert [one for one in wrong if not any(each in one for each in refused)] == []
        await browser.close()


async def sign_in(page: Page, secret: str, *, known: bool = True) -> None:
    """known: whether the server lets this one in."""
    await page.locator("#bearer").fill(secret)
    await page.get_by_role("button", name="Sign in").click()
    if known:
        await expect(page.locator("#pages")).to_be_visible()


async def nameless(page: Page) -> int:
    """How many of what can be pressed or filled in have no name for who does not see them."""
    has_none = "node => !(node.labels?.length || node.textContent.trim() || node.getAttribute('aria-label'))"
    found: int = await page.evaluate(
        f"[...document.querySelectorAll('button, input, textarea, progress')].filter({has_none}).length"
    )
    return found
