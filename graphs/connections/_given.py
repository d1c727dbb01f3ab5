"""What people may write into connections: settings that fit their kind, secrets that can be kept out of sight, names and roles.

Words of refusal repeat nothing that was given: it may be a secret in the wrong place."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pydantic import BaseModel, ValidationError

from graphs.connections import Kind
from graphs.definition import Json
from graphs.documents import is_array, is_object
from graphs.redaction import LOOKS_SECRET, SHORTEST
from store.connections import Row
from store.errors import Invalid

ROLES = ("owner", "builder", "operator", "viewer")
MAX_SECRET = 100_000  # characters


def validated(kind: Kind, settings: Json) -> dict[str, Json]:
    """The settings with defaults left out. Raises Invalid; its words repeat nothing that was given."""
    if not is_object(settings):
        raise Invalid("Settings are a JSON object.")
    if isinstance(form := settings.get("auth"), str):
        settings = {**settings, "auth": {"type": form}}
    try:
        model = kind.settings.model_validate(settings)
    except ValidationError as wrong:
        raise Invalid(" ".join(_problems(kind, wrong))[:1000]) from None
    for pointer, text in _texts(settings, ""):
        if LOOKS_SECRET.search(text):
            raise Invalid(
                f"The setting {pointer} looks like a secret, and settings are shown to everybody: set it as a secret instead "
                "(weft connections set-secret)."
            )
    return _plain(model)


def _plain(model: BaseModel) -> dict[str, Json]:
    return model.model_dump(mode="json", exclude_defaults=False, exclude_none=True)


def _problems(kind: Kind, wrong: ValidationError) -> Iterable[str]:
    for error in wrong.errors(include_url=False, include_input=False, include_context=True)[:5]:
        names = [str(part)[:50] for part in error["loc"]]
        where = "/".join(names)
        if error["type"] == "extra_forbidden" and names[-1] in kind.secrets:
            yield f"{where} is a secret and no setting: set it with weft connections set-secret, or PUT …/secrets/{names[-1]}."
        elif error["type"] == "extra_forbidden":
            yield f"There is no setting {where}; the kind {kind.name} has {', '.join(kind.settings.model_fields)}."
        elif error["type"].startswith("union_tag"):
            forms = str(error.get("ctx", {}).get("expected_tags", "")).replace("'", "")
            yield f'{where} is an object with the `type` {forms or "of a form"}, for example {{"type": "bearer"}}.'
        else:
            yield f"{where or 'settings'}: {error['msg'].removeprefix('Value error, ')}."


def _texts(value: Json, pointer: str) -> Iterable[tuple[str, str]]:
    if isinstance(value, str):
        yield pointer, value
    elif is_object(value):
        for name, inner in value.items():
            yield from _texts(inner, f"{pointer}/{name}")
    elif is_array(value):
        for number, inner in enumerate(value):
            yield from _texts(inner, f"{pointer}/{number}")


def fit(row: Row, field: str, value: str, takes: Sequence[str]) -> None:
    if field not in takes:
        there = f"it takes {', '.join(takes)}" if takes else "with its settings it takes none"
        raise Invalid(f"The connection {row.name!r} has no secret {field[:50]!r}; {there}.")
    if len(value) < SHORTEST:
        raise Invalid(f"The {field} is shorter than {SHORTEST} characters: Weft could not keep it out of outputs and logs.")
    if len(value) > MAX_SECRET:
        raise Invalid(f"The {field} is longer than {MAX_SECRET:,} characters.")
    if value != value.strip() or any(ord(character) < 32 for character in value if character not in "\n\t") or "\x7f" in value:
        raise Invalid(f"The {field} begins or ends with a space or line break, or holds control characters; was it copied whole?")


def known_roles(roles: Sequence[str] | None) -> Sequence[str] | None:
    unknown = [role for role in roles or () if role not in ROLES]
    if unknown:
        raise Invalid(f"{unknown[0][:50]!r} is no role; roles are {', '.join(ROLES)}.")
    return roles


def words(text: str) -> str:
    if len(text) > 500:
        raise Invalid("The description is longer than 500 characters.")
    if LOOKS_SECRET.search(text):
        raise Invalid("The description looks like it holds a secret, and it is shown to everybody.")
    return text
