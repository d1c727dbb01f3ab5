"""Arguments of tool calls as they are streamed, kept from LangChain: it reads every piece as if it were JSON, in time that grows with the
square of its length, so that one long piece would stop the whole process."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:  # slow to import
    from langchain_core.messages import AIMessage

KEPT = "arguments"  # of `additional_kwargs` of a message of LangChain


def take(calls: Iterable[Any]) -> list[dict[str, Any]]:
    """The arguments out of the calls in a piece of a stream like OpenAI's; LangChain gets the rest."""
    taken: list[dict[str, Any]] = []
    for number, call in enumerate(calls):
        call.setdefault("index", number)  # which some servers leave out that send whole calls
        if (function := call.get("function")) and (said := function.get("arguments")):
            taken.append({"of": call["index"], "said": said})
            function["arguments"] = ""
    return taken


def pieces(message: AIMessage) -> list[tuple[Any, str]]:
    """(index of the call, piece of its arguments)."""
    kept = cast("list[dict[str, Any]]", message.additional_kwargs.get(KEPT) or [])
    return [(piece["of"], str(piece["said"])) for piece in kept]


def of(message: AIMessage, index: object) -> str:
    """All of one call."""
    return "".join(said for at, said in pieces(message) if at == index)
