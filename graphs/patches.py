"""The difference of two JSON values as a JSON Patch (RFC 6902): applied to the first it gives the second."""

from __future__ import annotations

import asyncio
import copy
import json
from typing import Any

import jsonpatch
import jsonpointer

from graphs.definition import Json

SMALL = 50_000  # characters that may be compared without letting others have their turn
WRONG = (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException, KeyError, IndexError, TypeError, ValueError, RecursionError)


def patch(before: Json, after: Json) -> list[dict[str, Any]]:
    """Empty where both are the same. Numbers are the same when JSON writes them alike."""
    if same(before, after):
        return []
    try:
        found: list[dict[str, Any]] = jsonpatch.make_patch(before, after).patch
        if same(jsonpatch.apply_patch(copy.deepcopy(before), found), after):
            return found
    except WRONG:
        pass  # keys and lists in some odd order that jsonpatch gets wrong: the patch below is always right
    return [{"op": "replace", "path": "", "value": after}]


async def patch_of(before: Json, after: Json) -> list[dict[str, Any]]:
    """Like `patch`, in a thread where the values are large."""
    if len(json.dumps(before)) + len(json.dumps(after)) <= SMALL:
        return patch(before, after)
    return await asyncio.to_thread(patch, before, after)


def same(one: Json, other: Json) -> bool:
    """Whether two values are the same JSON; the order of keys does not count."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
