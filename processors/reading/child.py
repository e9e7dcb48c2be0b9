"""The process that opens strangers' files: a request a line on stdin with its bytes behind it, an answer a line.

Enters: {"what": "pdf" | "scan" | "picture", "bytes": N} and N bytes. Leaves: {"pages": [[number, text, by_ocr], …]}, or
{"problem": "…"}, or of a pdf {"scanned": true}: to be asked again as a scan, by whoever has the time. With "facts",
such pages as JSON, and "stated", what an application states: what they say, {"kind": "…", "facts": […]}. Guaranteed:
memory is bounded by the kernel (MEMORY_MAX), what libraries print goes to stderr, and the kernel ends the process with
whoever started it, also in the middle of a document. It holds no secret, no connection, and is killed without regret.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys

PR_SET_PDEATHSIG = 1
MEMORY_MAX = 4 << 30  # of addresses; an OCR engine maps far more than it uses


def main() -> None:
    """Serve until stdin ends. The first argument is the process id of whoever started it."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(sys.argv[1]):
        return  # he has gone already
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MAX, MEMORY_MAX))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    from aios.processors.reading import pdf
    from aios.processors.reading.extract import extract
    from aios.processors.reading.source import Page
    from aios.processors.reading.stated import Stated

    kinds = {"pdf": lambda content: pdf.of_pdf(content, scans=False), "scan": pdf.of_pdf, "picture": pdf.of_picture}
    requests = sys.stdin.buffer
    answers.write(b'{"ready": true}\n')
    answers.flush()
    while line := requests.readline():
        asked = json.loads(line)
        content = requests.read(asked["bytes"])
        answer: dict[str, object]
        try:
            if asked["what"] == "facts":
                found = extract([Page(*each) for each in json.loads(content)], Stated(*asked.get("stated", ())))
                answer = {"kind": found.kind, "facts": [fact.model_dump(mode="json") for fact in found.facts]}
            else:
                pages = kinds[asked["what"]](content)
                answer = {"pages": [[page.number, page.text, page.by_ocr] for page in pages]}
        except pdf.Scanned:
            answer = {"scanned": True}
        except pdf.Unreadable as error:
            answer = {"problem": error.problem.value}
        except MemoryError:
            answer = {"problem": "too_slow"}
        answers.write(json.dumps(answer).encode() + b"\n")
        answers.flush()


if __name__ == "__main__":
    main()
