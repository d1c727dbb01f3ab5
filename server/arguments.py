"""The arguments that tools share, with the words that models read about them."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

WorkflowName = Annotated[str, Field(min_length=1, max_length=64, description="workflow name or id")]
RunId = Annotated[str, Field(min_length=1, max_length=64, description="run id")]
TaskId = Annotated[str, Field(min_length=1, max_length=64, description="task id, from list_tasks or get_run")]
Document = Annotated[
    dict[str, Any] | str, Field(description='The definition: an object, or its JSON or YAML text. get_guide("definition") has one to copy.')
]
Input = Annotated[Any, Field(description="the run's input, as the workflow's input schema wants it")]
Limit = Annotated[int, Field(ge=1, le=100)]
Cursor = Annotated[str | None, Field(max_length=200, description="next_cursor of the page before")]
IdempotencyKey = Annotated[
    str | None, Field(min_length=1, max_length=200, description="makes a repeated call harmless: same key, same result")
]
Offset = Annotated[int, Field(ge=0, description="characters to skip of a value that came in parts")]
