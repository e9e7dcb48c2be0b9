"""The page for operators, in a real browser, of the real operations server with its neighbours in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

from playwright.async_api import expect

from aios.dlq.jobs import JobState
from tests.browser import chromium
from tests.browser.chromium import HOSTILE, browsed, sign_in
from tests.fakes.breakers import open_breaker
from tests.fakes.operations import Served, entry, served, token

pytestmark = chromium.needed


def run(test: Callable[[Served], Awaitable[None]]) -> None:
    async def within() -> None:
        async with asyncio.timeout(120), served() as operations:
            await test(operations)

    asyncio.run(within())


def test_two_people_bring_dead_letters_back_and_watch_it() -> None:
    """One plans and may not approve, told in the server's words; the other approves; the first runs it."""

    async def test(operations: Served) -> None:
        operations.index.held += [entry(number) for number in range(3)]
        async with browsed(operations.url, expected=frozenset({403})) as page:
            await sign_in(page, token("ann"))
            await page.locator("#groups button").click()
            await expect(page.locator("#group tr")).to_have_count(4)
            await page.get_by_label("Why these may return").fill("the producer is repaired")
            await page.get_by_role("button", name="Plan a replay of 3").click()
            await expect(page.locator("#job")).to_contain_text("draft")
            (job,) = operations.stage.jobs.values()
            assert (job.planned_by, job.rate_per_s) == ("ann", 100)
            await page.get_by_role("button", name="approve").click()
            await expect(page.locator("#says")).to_contain_text("needs the role approver")

            await page.get_by_role("button", name="Sign out").click()
            await sign_in(page, token("bea"))
            await page.get_by_role("button", name="Jobs").click()
            await page.locator("#planned button").click()
            await page.get_by_role("button", name="approve").click()
            await expect(page.locator("#job")).to_contain_text("bea")

            await page.get_by_role("button", name="Sign out").click()
            await sign_in(page, token("ann"))
            await page.get_by_role("button", name="Jobs").click()
            await page.locator("#planned button").click()
            await page.get_by_role("button", name="run").click()
            await expect(page.locator("#job")).to_contain_text("3 of 3")
            (job,) = operations.stage.jobs.values()
            assert (job.state, job.approved_by, job.run_by) == (JobState.DONE, "bea", "ann")

    run(test)


def test_a_letter_is_shown_as_text_and_without_personal_fields() -> None:
    """What failed, and what it holds; discarded with a reason, which is on record."""

    async def test(operations: Served) -> None:
        operations.index.held.append(entry(1, message=HOSTILE))
        async with browsed(operations.url) as page:
            await sign_in(page, token("ann"))
            await page.locator("#groups button").click()
            await page.locator("#group table button").click()
            shown = page.locator("#group")
            await expect(shown).to_contain_text("without personal fields")
            await expect(shown).to_contain_text(HOSTILE)
            await expect(shown).not_to_contain_text("Jane")
            await expect(page).to_have_title("AIOS: dead letters and replay")
            assert await chromium.nameless(page) == 0
            await page.get_by_label("Why").fill("a test of the producer's")
            await page.get_by_role("button", name="Discard it").click()
            await expect(page.locator("#says")).to_contain_text("is discarded")
            (asked,) = operations.stage.asked
            assert (asked.kind, asked.reason) == ("letter.discard", "a test of the producer's")

    run(test)


def test_an_open_breaker_is_seen_as_it_opens_and_closed() -> None:
    async def test(operations: Served) -> None:
        async with browsed(operations.url) as page:
            await sign_in(page, token("ann"))
            await page.get_by_role("button", name="Breakers").click()
            await expect(page.locator("#open")).to_contain_text("nothing pauses by itself")
            found = open_breaker("aios.admit")
            operations.breakers.held[found.key] = found
            await expect(page.locator("#open")).to_contain_text(found.key)
            await page.get_by_role("button", name="Close it").click()
            await expect(page.locator("#says")).to_contain_text("is closed")
            assert [one.object_id for one in operations.stage.asked] == [found.key]
            operations.breakers.held[found.key] = replace(found, state="closed")
            await expect(page.locator("#open")).to_contain_text("nothing pauses by itself")

    run(test)
