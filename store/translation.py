"""The one spot where what Postgres says becomes an error of ours."""

from __future__ import annotations

import psycopg
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict
from psycopg_pool import PoolClosed, PoolTimeout, TooManyRequests

from store.errors import Conflict, Denied, Invalid, Misconfigured, Unavailable, WeftError

CAUGHT = (psycopg.Error, UnicodeEncodeError)
"""What a call of psycopg raises and `translate` understands; UnicodeEncodeError is a lone surrogate in a text parameter."""

SCHEMA = (
    errors.UndefinedTable,
    errors.UndefinedColumn,
    errors.UndefinedFunction,
    errors.UndefinedObject,
    errors.InvalidSchemaName,
)
BUSY = (errors.DeadlockDetected, errors.SerializationFailure, errors.LockNotAvailable)
LOGIN = (
    "authentication failed",
    "does not exist",
    "no pg_hba.conf entry",
    "no password supplied",
    "not permitted to log in",
)

# The sentences for constraints a user can run into; any other one is described by its name.
SENTENCES = {
    "organizations_slug_key": "There is an organization with this slug already; choose another.",
    "users_name_unique": "There is a user of this name already; choose another name.",
    "workflows_name_unique": "There is a workflow of this name already; choose another name, or edit that one.",
    "runs_idempotency_unique": "A run with this idempotency key exists already.",
    "received_events_idempotency_unique": "An event with this idempotency key was received already.",
}


def translate(error: psycopg.Error | UnicodeEncodeError) -> Exception:
    """A WeftError for what a user or operator can act on; the error itself when it is a fault of ours."""
    match error:
        case errors.IntegrityError():
            return _violation(error)
        case errors.InsufficientPrivilege():
            return Denied("The database refuses this for the current organization.", reason=error.diag.message_primary)
        case UnicodeEncodeError() | errors.DataError():
            return Invalid(f"The database cannot store this value: {_primary(error)}.")
        case errors.QueryCanceled():
            return Unavailable("Postgres stopped a query that took too long; try again, or ask for less.")
        case errors.InFailedSqlTransaction():
            return error
        case _ if isinstance(error, SCHEMA):
            return Misconfigured(f"The database has another schema than this version of Weft ({_primary(error)}); run `weft migrate`.")
        case _ if isinstance(error, BUSY):
            return Unavailable(f"Another transaction is in the way ({_primary(error)}); try again.", undone=True)
        case errors.DiskFull() | errors.OutOfMemory() | errors.ReadOnlySqlTransaction():
            return Unavailable(f"Postgres cannot write just now: {_primary(error)}.")
        case PoolTimeout() | TooManyRequests() | PoolClosed():
            return Unavailable("Postgres does not answer, or all connections to it are busy; try again.")
        case psycopg.OperationalError() | psycopg.InterfaceError():
            return Unavailable(f"Postgres does not answer ({_primary(error)}); try again.")
        case _:
            return error


def refused_connection(error: psycopg.Error, url: str) -> WeftError:
    """Why a first connection failed, naming the server and never the password."""
    parts = conninfo_to_dict(url)
    where = f"{parts.get('host') or 'localhost'}:{parts.get('port') or 5432}, database {parts.get('dbname')}, user {parts.get('user')}"
    if any(words in str(error) for words in LOGIN):
        return Misconfigured(f"Postgres refuses the login ({where}): {_primary(error)}. Check the database URL.")
    return Unavailable(f"Postgres does not answer ({where}): {_primary(error)}. Start it, or check the database URL.")


def _violation(error: errors.IntegrityError) -> WeftError:
    name = error.diag.constraint_name or error.diag.column_name or ""
    if isinstance(error, errors.CheckViolation | errors.NotNullViolation):
        return Invalid(SENTENCES.get(name, f"The database refuses this value ({name})."), constraint=name)
    if isinstance(error, errors.ForeignKeyViolation):
        return Conflict(SENTENCES.get(name, f"Something this refers to is not there, or is still needed ({name})."), constraint=name)
    return Conflict(SENTENCES.get(name, f"This exists already ({name})."), constraint=name)


def _primary(error: psycopg.Error | UnicodeEncodeError) -> str:
    """The first line of the server's message, without its context: statements and values do not belong in an error a user sees."""
    if isinstance(error, UnicodeEncodeError):
        return "a text has half a surrogate pair"
    lines = (error.diag.message_primary or str(error)).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
