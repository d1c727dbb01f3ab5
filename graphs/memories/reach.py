"""On whose behalf memories are read and written, and which scopes that reaches."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from graphs.nodetype import Failure
from memory import scopes
from memory.embedding import Embedder
from memory.scopes import Principal
from store import redaction
from store.errors import Invalid, NotFound, Unavailable, WeftError
from store.memories import Scope
from store.postgres import Tenant

if TYPE_CHECKING:
    from graphs.models import Models
    from graphs.runtime import Actor, Runtime

OWN = "user"
PRIVATE = "private:"
MOST_NAME = 500  # characters


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """On whose behalf memories are read and written: the organization, the user with their role, and the run, if one does it.
    `models`: those that may be asked what a text says; None: rules say it."""

    tenant: Tenant
    principal: Principal
    embedder: Embedder | None
    run_id: str | None = None
    models: Models | None = None


def access(runtime: Runtime, actor: Actor) -> Access:
    """That of whoever came through a door. It is never an argument of a tool, a route or a step."""
    from graphs.models import Caller  # it imports Failure from where we do

    principal = Principal(user_id=actor.user_id, role=actor.role)
    models = runtime.models.of(actor.tenant, Caller(user_id=actor.user_id))
    return Access(tenant=actor.tenant, principal=principal, embedder=models.embedder(runtime.embedder), models=models)


def parse_scope(text: str) -> tuple[scopes.Kind, str, bool]:
    """ "user", "organization", "agent:helper", "private:conversation:trip" → kind, name, private. Raises Invalid."""
    private = text.startswith(PRIVATE)
    kind, _, name = text.removeprefix(PRIVATE).partition(":")
    if kind not in scopes.KINDS:
        raise Invalid(f"A scope is user, organization, or agent:, conversation:, workflow: or run: and a name; not {text[:100]!r}.")
    return kind, name, private


def spelled(scope: Scope) -> str:
    """A scope as parse_scope reads it."""
    if scope.kind in ("user", "organization"):
        return scope.kind
    return f"{PRIVATE if scope.user_id else ''}{scope.kind}:{scope.name}"


async def readable(access: Access, scope: str | None) -> list[Scope]:
    """The scope, if there is one of this name that may be read; without a name all that may be read."""
    if scope is None:
        return await scopes.visible(access.tenant, access.principal)
    kind, name, private = parse_scope(scope)
    with suppress(NotFound):
        return [await scopes.find(access.tenant, access.principal, kind, name, private=private)]
    return []


async def noted(access: Access, ids: Sequence[str], *, recalled: bool = False) -> set[str]:
    """Notes that the run wrote memories, or is to be told of them, so that forgetting finds it; those that are still there. Whatever hands
    the words of memories to a step asks this first, and leaves out what is gone. `recalled`: by a question and not by name; then what
    was said in a chat comes only into runs that nobody but its user may read."""
    return set(ids) if access.run_id is None else await redaction.note_uses(access.tenant, access.run_id, ids, recalled=recalled)


@contextmanager
def in_step() -> Generator[None]:
    """In a step an error of the house is the step's failure, and is retried when it may pass."""
    try:
        yield
    except WeftError as error:
        raise Failure(error.code, error.message, retryable=isinstance(error, Unavailable)) from error


def check_lengths(*names: str | None) -> None:
    for name in names:
        if name is not None and len(name) > MOST_NAME:
            raise Invalid(f"{name[:40]!r}… has {len(name):,} characters; names, sources and labels have at most {MOST_NAME}")


def is_id(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True
