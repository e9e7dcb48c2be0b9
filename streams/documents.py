"""What a document may be: its bounds, and which of its fields make two of them the same.

One truth for the gateway, which refuses before anything is written, and for admit, which judges every road alike:
what the gateway accepts, admit does not refuse for its content.
"""

from __future__ import annotations

from aios.schemas.models import DocumentReceived

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


def business_fields(event: DocumentReceived) -> dict[str, str]:
    """What makes two documents the same: who publishes it, when and how urgently is not part of it."""
    return {
        "text": event.text,
        "channel": event.channel or (MESSAGE if len(event.text) <= MESSAGE_CHARS_MAX else LETTER),
        "subject": event.subject,
        "customer_id": event.customer_id,
    }
