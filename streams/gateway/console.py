"""GET /console: the page where people answer questions, and read why a case came to its decision; of the gateway's Api.

Enters: nobody's request: the page holds nothing of anybody, what it shows it asks for with the reader's own key or
token. Leaves: three files of `page/`. Guaranteed: a browser runs nothing in it but these (the content security policy
allows no script inline, no other host, no frame around it); texts of customers and models are shown as text; it asks
the routes that programs ask, so that nobody may do more here. Rejected: cookies (a token that the browser sends by
itself is a token that other pages may use), a framework and its build (three files that are read as they are served).
"""

from __future__ import annotations

from pathlib import Path

from aiohttp import web

from aios.streams.http.openapi import Caller, Route
from aios.streams.http.problem import Problem

FOLDER = Path(__file__).parent / "page"
INDEX = "index.html"
FILES = {INDEX: "text/html", "page.css": "text/css", "page.js": "text/javascript"}
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


class ConsoleApi:
    """The handlers."""

    async def console(self, _: web.Request) -> web.Response:
        return _file(INDEX)

    async def console_file(self, request: web.Request) -> web.Response:
        return _file(request.match_info["file"])


def _file(name: str) -> web.Response:
    if name not in FILES:
        raise Problem("not_found", f"the page is of: {', '.join(FILES)}")
    text = (FOLDER / name).read_text(encoding="utf-8")
    return web.Response(text=text, content_type=FILES[name], charset="utf-8", headers=HEADERS)


ROUTES = (
    Route(
        method="GET",
        path="/console",
        name="console",
        caller=Caller.NOBODY,
        does="The page for people who answer questions.",
        answers={200: None},
    ),
    Route(
        method="GET",
        path="/console/{file}",
        name="console_file",
        caller=Caller.NOBODY,
        does="What the page is made of.",
        answers={200: None},
        refuses=("not_found",),
    ),
)
