"""Pages of PDFs and pictures, by PDFium and an OCR engine. Runs in a process of its own (child.py), never in a stage.

In: bytes. Out: pages of text, or why not. Guaranteed: pages, characters, pixels and scanned pages are bounded; a page
without a text layer is read as a picture. PDFium is C++ and the bytes are a stranger's: a crash ends the child alone.
Kept: pypdfium2 (PDFium, as in Chrome), rapidocr (PaddleOCR's models in the wheel, Apache 2.0). Rejected:
pypdf (pages of text without coordinates, so without columns), PyMuPDF (AGPL), tesserocr (its models are not in it).
"""

from __future__ import annotations

import ctypes
import io
import unicodedata
from collections.abc import Iterator
from functools import cache
from typing import Any

import pypdfium2 as pdfium
from PIL import Image, UnidentifiedImageError
from pypdfium2 import raw

from aios.processors.reading.layout import Piece, lay_out
from aios.processors.reading.problem import Problem
from aios.processors.reading.source import Page

PAGES_MAX = 60
SCANNED_MAX = 10  # pages read as pictures
CHARS_MAX = 300_000  # of all pages
PAGE_CHARS_MAX = 40_000
PIXELS_LONG_MAX = 2_000  # of the longer side of a picture: A4 at 170 dpi
DETECTED_LONG_MAX = 1_280  # the picture in which lines are looked for; they are read in the whole one
PIXELS_MAX = 60_000_000  # of a picture as it comes
VISIBLE_MIN = 12  # characters; a page with fewer and a picture is a scan
OCR_SURE_MIN = 0.5
_ORIENTATION = 0x0112  # EXIF's: how the camera was held (ImageOps.exif_transpose fails where another tag is damaged)
_TURNED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class Unreadable(Exception):
    """Why."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.value)
        self.problem = problem


class Scanned(Exception):
    """A page has no text and a picture, and pictures were not to be read."""


def of_pdf(content: bytes, *, scans: bool = True) -> list[Page]:
    """scans: pages without text are read as pictures. Raises Unreadable, and Scanned where they are not."""
    try:
        document = pdfium.PdfDocument(content)
    except pdfium.PdfiumError as error:
        code = getattr(error, "err_code", None)
        locked = code in (raw.FPDF_ERR_PASSWORD, raw.FPDF_ERR_SECURITY)
        raise Unreadable(Problem.ENCRYPTED if locked else Problem.BROKEN) from error
    try:
        if len(document) > PAGES_MAX:
            raise Unreadable(Problem.TOO_MANY_PAGES)
        return list(_pages(document, scans=scans))
    except pdfium.PdfiumError as error:
        raise Unreadable(Problem.BROKEN) from error
    finally:
        document.close()


def _pages(document: Any, *, scans: bool) -> Iterator[Page]:
    chars, scanned = 0, 0
    for index in range(len(document)):
        page = document[index]
        text, by_ocr = _page_text(page), False
        if sum(not each.isspace() for each in text) < VISIBLE_MIN and _has_picture(page):
            if not scans:
                raise Scanned
            if scanned == SCANNED_MAX:
                raise Unreadable(Problem.TOO_MANY_PAGES)
            scanned, by_ocr = scanned + 1, True
            scale = min(PIXELS_LONG_MAX / max(*page.get_size(), 1.0), 4.0)
            text = _recognised(page.render(scale=scale, grayscale=True).to_numpy())
        page.close()
        chars += len(text)
        if chars > CHARS_MAX:
            raise Unreadable(Problem.TOO_LARGE)
        yield Page(index + 1, text, by_ocr)


def _has_picture(page: Any) -> bool:
    return next(iter(page.get_objects(filter=[raw.FPDF_PAGEOBJ_IMAGE], max_depth=3)), None) is not None


def _page_text(page: Any) -> str:
    text = page.get_textpage()
    try:
        if text.count_chars() > PAGE_CHARS_MAX:
            raise Unreadable(Problem.TOO_LARGE)
        return lay_out(list(_pieces(text, page.get_height())))
    finally:
        text.close()


def _pieces(text: Any, page_height: float) -> Iterator[Piece]:
    """A piece a character; spaces say only that there is one."""
    x, y = ctypes.c_double(), ctypes.c_double()
    box = raw.FS_RECTF()
    spaced = False
    for index in range(text.count_chars()):
        character = chr(raw.FPDFText_GetUnicode(text, index))
        if character == "\x02":
            character = "-"
        if character.isspace() or not character.isprintable():
            spaced = spaced or character in "\u00a0 "
            continue
        raw.FPDFText_GetCharOrigin(text, index, x, y)
        raw.FPDFText_GetLooseCharBox(text, index, box)  # with the room that its font gives it
        height = raw.FPDFText_GetFontSize(text, index) or max(box.top - box.bottom, 1.0)
        if height < 3:  # the font's size may be scaled by the page's own matrix
            height = max(box.top - box.bottom, 3.0)
        written = unicodedata.normalize("NFKC", character)
        yield Piece((" " if spaced else "") + written, box.left, box.right, page_height - y.value, height)
        spaced = False


def of_picture(content: bytes) -> list[Page]:
    """Raises Unreadable."""
    Image.MAX_IMAGE_PIXELS = PIXELS_MAX
    try:
        with Image.open(io.BytesIO(content), formats=("PNG", "JPEG", "TIFF")) as image:
            frames = getattr(image, "n_frames", 1)
            if frames > SCANNED_MAX:
                raise Unreadable(Problem.TOO_MANY_PAGES)
            return [Page(number + 1, _frame_text(image, number), by_ocr=True) for number in range(frames)]
    except UnidentifiedImageError as error:
        raise Unreadable(Problem.BROKEN) from error
    except Image.DecompressionBombError as error:
        raise Unreadable(Problem.TOO_LARGE) from error
    except (OSError, SyntaxError, ValueError) as error:  # what Pillow's decoders raise on damaged files
        raise Unreadable(Problem.BROKEN) from error


def _frame_text(image: Any, number: int) -> str:
    import numpy

    image.seek(number)
    image.load()  # TIFF turns itself
    if image.has_transparency_data:
        drawn = image.convert("RGBA")
        drawn.thumbnail((PIXELS_LONG_MAX, PIXELS_LONG_MAX))
        paper = Image.new("RGBA", drawn.size, "white")
        grey = Image.alpha_composite(paper, drawn).convert("L")
    else:
        grey = image.convert("L")
        grey.thumbnail((PIXELS_LONG_MAX, PIXELS_LONG_MAX))
    turned = _TURNED.get(image.getexif().get(_ORIENTATION))
    return _recognised(numpy.asarray(grey if turned is None else grey.transpose(turned)))


@cache
def _engine() -> Any:
    """No classifier of turned lines: it turns short ones that stand upright."""
    from rapidocr import RapidOCR

    threads = {f"EngineConfig.onnxruntime.{name}_op_num_threads": 1 for name in ("intra", "inter")}
    bounds = {"Det.limit_type": "max", "Det.limit_side_len": DETECTED_LONG_MAX}
    return RapidOCR(params={"Global.log_level": "error", "Global.use_cls": False, **bounds, **threads})


def _recognised(pixels: Any) -> str:
    found = _engine()(pixels if pixels.ndim == 2 else pixels[..., 0])
    pieces = []
    for corners, text, sure in zip(
        () if found.boxes is None else found.boxes, found.txts or (), found.scores or (), strict=True
    ):
        if float(sure) >= OCR_SURE_MIN:
            across, down = [float(corner[0]) for corner in corners], [float(corner[1]) for corner in corners]
            height = 0.75 * (max(down) - min(down))  # a box is a little larger than its letters
            middle = (max(down) + min(down)) / 2
            pieces.append(Piece(unicodedata.normalize("NFKC", text), min(across), max(across), middle, height))
    return lay_out(pieces)
