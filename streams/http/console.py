"""GET /console: a server's page for people, in a browser; a part of its Api.

Enters: nobody's request: a page holds nothing of anybody, what it shows it asks for with the reader's own key or token.
Leaves: the files of PAGE (the server's own) and of `page/` (what the pages share). Guaranteed: a browser runs nothing
in it but these (the content security policy allows no script inline, no other host, no frame around it); texts of
customers and models are shown as text; a page asks the routes that programs ask, so that nobody may do more there.
Rejected: cookies (a token that the browser sends by itself is a token that other pages may use), a framework and its
build (files that are read as they are served).
"""

from __future__ import annotations

from pathlib import Path

from aiohttp import web

from aios.streams.http.openapi import Route, public
from aios.streams.http.problem import Problem

SHARED = Path(__file__).parent / "page"
INDEX = "index.html"
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


class ConsoleApi:
    """The handlers."""

    PAGE: Path

    async def console(self, _: web.Request) -> web.Response:
        return _answer(self.PAGE / INDEX)

    async def console_file(self, request: web.Request) -> web.Response:
        files = {file.name: file for folder in (SHARED, self.PAGE) for file in folder.iterdir()}
        file = files.get(request.match_info["file"])
        if file is None:
            raise Problem("not_found", f"the page is made of: {', '.join(sorted(files))}")
        return _answer(file)


def _answer(file: Path) -> web.Response:
    text = file.read_text(encoding="utf-8")
    return web.Response(text=text, content_type=TYPES[file.suffix], charset="utf-8", headers=HEADERS)


def console_routes(does: str) -> tuple[Route, ...]:
    """does: what people do on the page."""
    return (
        public("/console", "console", does, {200: None}),
        public("/console/{file}", "console_file", "What the page is made of.", {200: None}, ("not_found",)),
    )
