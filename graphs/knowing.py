"""What the checks must know of an organization: read from the database, as far as a definition names any of it."""

from __future__ import annotations

from graphs.checks import Known
from graphs.definition import Json
from graphs.pinning import inputs_of_published
from store import connections, jsontext
from store.postgres import Session


async def known_to(session: Session, definition: Json) -> Known:
    """What is misspelt need not be known: it is reported as unknown anyway."""
    text = jsontext.text(definition)
    return Known(
        workflows=await inputs_of_published(session) if '"subflow"' in text else {},
        connections=await connections.kinds(session) if '"connection"' in text else {},
    )
