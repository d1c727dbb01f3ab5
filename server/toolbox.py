"""Turns a tool file into an MCP tool: closed arguments, lean schema, every hint said."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from mcp.server.mcpserver.tools import Tool
from mcp.server.mcpserver.utilities.func_metadata import ArgModelBase, FuncMetadata

from server.schemas import lean
from server.tools import ToolFile


class Arguments(FuncMetadata):
    """The SDK's argument handling, except that only text which can be nothing but JSON is read as JSON."""

    def pre_parse_json(self, data: dict[str, Any]) -> dict[str, Any]:
        """Some clients send objects and lists as text. A plain string argument stays what it is, even when it says true or null."""
        return {name: self._parsed(name, value) for name, value in data.items()}

    def _parsed(self, name: str, value: Any) -> Any:
        field = self.arg_model.model_fields.get(name)
        if field is None or not isinstance(value, str) or value.strip()[:1] not in ("{", "["):
            return value
        if name == "definition" or not _takes_json(field.annotation):
            return value
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value


def _takes_json(annotation: Any) -> bool:
    """Whether the argument may be an object or a list, so that text in its place can only be one that was written out."""
    return annotation is Any or "dict" in str(annotation) or "list" in str(annotation)


def _closed(model: type[ArgModelBase]) -> type[ArgModelBase]:
    model.model_config["extra"] = "forbid"
    model.model_rebuild(force=True)
    return model


@cache
def build_tool(file: ToolFile) -> Tool:
    """The tool as MCPServer takes it. The same at every door of the process: its models and schemas take 15 ms to make."""
    tool = Tool.from_function(
        file.run,
        name=file.name,
        description=file.description,
        annotations=file.annotations,
        meta={"anthropic/alwaysLoad": True} if file.core else None,
    )
    tool.fn_metadata = Arguments(arg_model=_closed(tool.fn_metadata.arg_model))
    tool.parameters = lean(tool.fn_metadata.arg_model.model_json_schema(by_alias=True))
    return tool
