"""What a document may be: its bounds, and which of its fields make two of them the same.

One truth for the gateway, which refuses before anything is written, and for admit, which judges every road alike:
what the gateway accepts, admit does not refuse for its content.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

TEXT_CHARS_MAX = 200_000
NAME_CHARS_MAX = 256  # ids, keys, tenant and customer id
SUBJECT_CHARS_MAX = 2_000
TIME_MS_MAX = 253_402_300_799_999  # end of the year 9999
LETTER, MESSAGE = "letter", "message"
MESSAGE_CHARS_MAX = 200
"""Up to this length a text is a message, a longer one a letter, if the producer does not say.

Of the training copies 7 % of the letters are shorter and 2 % of the messages longer, the least of both together;
a text on the wrong head is one that the head has not seen, and most such go to a person.
"""


def business_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """What makes two documents the same: who publishes it, when and how urgently is not part of it.

    fields: of the contract; those with a default may be left out.
    """
    text = fields["text"]
    return {
        "text": text,
        "channel": fields.get("channel") or (MESSAGE if len(text) <= MESSAGE_CHARS_MAX else LETTER),
        "subject": fields.get("subject") or "",
        "customer_id": fields.get("customer_id") or "",
    }
