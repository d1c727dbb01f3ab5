"""Weft's own tools as runs may use them: what each does to the world, and which of them a person is asked about first."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from graphs.nodetype import Effect

READ, GUARDED, ONCE = Effect.READ, Effect.WRITE_IDEMPOTENT, Effect.WRITE_ONCE

EFFECTS: Mapping[str, Effect] = MappingProxyType(
    {
        "answer_task": GUARDED,  # the first valid answer wins
        "control_run": ONCE,  # fork and rerun make another run each time
        "create_workflow": GUARDED,  # a name is taken once
        "edit_workflow": GUARDED,  # a patch fits one revision
        "find_node_types": READ,
        "fix_run": GUARDED,  # a replay changes nothing but the list of replays
        "get_guide": READ,
        "get_run": READ,
        "get_workflow": READ,
        "list_runs": READ,
        "list_tasks": READ,
        "list_workflows": READ,
        "publish_workflow": GUARDED,  # of one revision; once more makes another version of the same definition
        "recall": READ,
        "remember": GUARDED,
        "send_event": GUARDED,  # under the key of the step
        "start_run": GUARDED,  # under the key of the step
        "test_workflow": GUARDED,  # a test changes nothing but the list of tests
        "validate_workflow": READ,
    }
)
"""Every tool that is lent, with what repeating a call would do. A tool that is not here is lent to no run."""

KEYED = frozenset({"send_event", "start_run"})
"""Tools that take an idempotency key: a call without one gets that of its step."""

EXACT: Mapping[str, str] = MappingProxyType({"publish_workflow": "revision", "start_run": "version"})
"""Arguments that an agent must give, so that what a person agrees to is what is done, whatever changes meanwhile."""

ASKED = frozenset({"answer_task", "control_run", "edit_workflow", "publish_workflow", "remember", "send_event", "start_run"})
"""Tools that an assistant uses only after the person has agreed to the very call. `create_workflow` refuses a name that is taken, so it
changes nothing that is there."""
