"""The form of a connection: plain HTML made of what its kind says, and what was filled in made into settings."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from graphs.connections import Kind, auth_secrets
from graphs.definition import Json
from graphs.inviting import Guest
from graphs.outbound import parse_json
from store.errors import Invalid

FORMS = {
    "none": "nothing",
    "bearer": "bearer token",
    "basic": "user name and password",
    "header": "header of your own",
    "query": "query parameter",
}
FIELD_OF = {"bearer": "token", "basic": "password", "header": "value", "query": "value"}
NAME_OF = {"basic": "username", "header": "name", "query": "name"}


def form_of(who: Guest, wrong: str = "") -> str:
    """The body of the page: who is asked for what, where it will be sent, and nothing that was typed before."""
    head = f"<p>For the workflows of {escape(who.actor.user_name)}'s organization in Weft. {escape(who.kind.summary)}</p>"
    problem = f'<p class="wrong">{escape(wrong)}</p>' if wrong else ""
    fields = _secrets(who) if who.row else _settings(who.kind)
    send = "Save" if who.row is None or _takes(who) else "Go on"
    note = "<p><small>What you enter is encrypted, used for these calls only, and shown to nobody again, also not to a model.</small></p>"
    return f'{head}{problem}<form method="post" autocomplete="off">{fields}<button>{send}</button></form>{note}'


def _takes(who: Guest) -> tuple[str, ...]:
    return who.kind.takes(who.kind.settings.model_validate(who.row.settings)) if who.row else ()


def _secrets(who: Guest) -> str:
    settings: dict[str, Json] = who.row.settings if who.row else {}
    where = settings.get("base_url") or settings.get("url")
    told = f"<p>It calls <b>{escape(str(where))}</b>.</p>" if where else ""
    auth: Any = settings.get("auth") or {}
    by_hand = "only if the server told you to register Weft by hand: "
    client = _input("sign_in.client_id", f"{by_hand}the client id") if auth.get("type") == "sign_in" else ""
    words = {name: (by_hand if client else "") + who.kind.secrets.get(name, name) for name in _takes(who)}
    return told + client + "".join(_input(f"secret.{name}", words[name], secret=True) for name in words)


def _settings(kind: Kind) -> str:
    """For a connection that is not there yet: its settings, and the secrets of its kind."""
    schema = kind.settings.model_json_schema()
    required = schema.get("required", [])
    fields = ""
    for name, field in schema.get("properties", {}).items():
        if name == "auth":
            fields += _auth({**FORMS, "none": "nothing, or signing in if the server asks for it"} if kind.settle else FORMS)
        else:
            fields += _input(f"setting.{name}", f"{name}: {field.get('description', '')}".rstrip(": "), required=name in required)
    own = [name for name in kind.secrets if "auth" not in schema.get("properties", {}) or name not in auth_secrets()]
    return fields + "".join(_input(f"secret.{name}", kind.secrets[name], secret=True) for name in own)


def _auth(forms: Mapping[str, str]) -> str:
    options = "".join(f'<option value="{form}">{words}</option>' for form, words in forms.items())
    select = f'<label for="auth">Each call is authorized by</label><select id="auth" name="auth">{options}</select>'
    return select + _input("auth.name", "user name, or name of the header or parameter") + _input("auth.secret", "the secret", secret=True)


def _input(name: str, words: str, *, secret: bool = False, required: bool = False) -> str:
    kind = 'type="password" autocomplete="new-password"' if secret else 'type="text"'
    need = " required" if required else ""
    return f'<label for="{escape(name)}">{escape(words)}</label><input {kind} id="{escape(name)}" name="{escape(name)}"{need}>'


def settings_of(who: Guest, given: Mapping[str, str]) -> Json:
    """The settings of a connection that is to be made; None for one that is there. Raises Invalid."""
    if who.row is not None:
        return None
    properties: dict[str, Any] = who.kind.settings.model_json_schema().get("properties", {})
    settings: dict[str, Json] = {}
    for name, field in properties.items():
        if text := given.get(f"setting.{name}", "").strip():
            settings[name] = _value(name, text, field)
    if "auth" in properties and (form := given.get("auth", "none")) != "none":
        if form not in FORMS:
            raise Invalid("Choose how calls are authorized.")
        settings["auth"] = {"type": form, **({NAME_OF[form]: given.get("auth.name", "").strip()} if form in NAME_OF else {})}
    return settings


def _value(name: str, text: str, field: dict[str, Any]) -> Json:
    kinds = {field.get("type"), *(option.get("type") for option in field.get("anyOf", ()))}
    if "string" in kinds:
        return text
    try:
        return parse_json(text)
    except ValueError:
        raise Invalid(f"{name} must be JSON.") from None


def secrets_of(who: Guest, given: Mapping[str, str]) -> dict[str, str]:
    """What was typed into the fields of secrets; empty ones are not set."""
    found = {name.removeprefix("secret."): value.strip() for name, value in given.items() if name.startswith("secret.")}
    form = given.get("auth", "none")
    if who.row is None and form in FIELD_OF:
        found[FIELD_OF[form]] = given.get("auth.secret", "").strip()
    return {name: value for name, value in found.items() if value}
