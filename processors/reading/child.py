"""The process that opens strangers' files: a request a line on stdin with its bytes behind it, an answer a line.

Enters: {"what": "pdf" | "picture", "bytes": N} and N bytes. Leaves: {"pages": [[number, text, by_ocr], …]} or
{"problem": "…"}. Guaranteed: memory is bounded by the kernel (MEMORY_MAX), what libraries print goes to stderr, and
the process ends with whoever started it. It holds no secret, no connection, and is killed without regret.
"""

from __future__ import annotations

import json
import os
import resource
import sys

MEMORY_MAX = 4 << 30  # of addresses; an OCR engine maps far more than it uses


def main() -> None:
    """Serve until stdin ends."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MAX, MEMORY_MAX))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    from aios.processors.reading import pdf

    requests = sys.stdin.buffer
    answers.write(b'{"ready": true}\n')
    answers.flush()
    while line := requests.readline():
        asked = json.loads(line)
        content = requests.read(asked["bytes"])
        try:
            pages = (pdf.of_pdf if asked["what"] == "pdf" else pdf.of_picture)(content)
            answer: dict[str, object] = {"pages": [[page.number, page.text, page.by_ocr] for page in pages]}
        except pdf.Unreadable as error:
            answer = {"problem": error.problem.value}
        except MemoryError:
            answer = {"problem": "too_slow"}
        answers.write(json.dumps(answer).encode() + b"\n")
        answers.flush()


if __name__ == "__main__":
    main()
