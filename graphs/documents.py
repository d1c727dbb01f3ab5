"""Documents as text: JSON or YAML in, JSON values inside, YAML out for people."""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any, TypeGuard

import yaml

from graphs.definition import Json
from store.errors import Invalid

MAX_CHARACTERS = 1_000_000
MAX_YAML = 300_000  # its parser takes five seconds for a megabyte
MAX_DEPTH = 200  # of the text; the checks allow less


def is_object(value: Json) -> TypeGuard[dict[str, Json]]:
    """A JSON object."""
    return isinstance(value, dict)


def is_array(value: Json) -> TypeGuard[list[Json]]:
    """A JSON array."""
    return isinstance(value, list)


def is_text(value: Json) -> TypeGuard[str]:
    """A JSON string."""
    return isinstance(value, str)


def parse(text: str) -> Json:
    """Reads a document, JSON or YAML. Invalid, with line and column, when it is neither, too large or more than JSON."""
    if len(text) > MAX_CHARACTERS:
        raise Invalid(f"the document has {len(text)} characters; {MAX_CHARACTERS} are allowed")
    try:
        return json.loads(text, parse_constant=refuse_constant, parse_float=finite, object_pairs_hook=_unique)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        broken = Invalid(f"not valid JSON: {error.msg} at {where}", line=error.lineno, column=error.colno)
        json_meant = text.lstrip()[:1] in ("{", "[")
        if len(text) > MAX_YAML:
            raise broken if json_meant else Invalid(f"YAML may have {MAX_YAML:,} characters; write longer documents as JSON") from None
        try:
            return _from_yaml(text)
        except Invalid:
            if not json_meant:
                raise
            raise broken from None
    except ValueError as error:  # digits beyond what Python reads, or a refusal of ours
        raise Invalid(f"not valid JSON: {error}") from None
    except RecursionError:
        raise Invalid("the document is nested too deeply") from None


def to_yaml(document: Json) -> str:
    """The document as YAML that `parse` reads back to the same value; as JSON, which is YAML too, when it holds odd characters."""
    if re.search("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff\ud800-\udfff]", json.dumps(document, ensure_ascii=False)):
        return json.dumps(document, indent=2)
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


def refuse_constant(name: str) -> Json:
    raise ValueError(f"{name} is not a JSON number")


def finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text[:40]} is too large for a number")
    return number


def _unique(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice!r} occurs twice in one object")
    return found


if TYPE_CHECKING:
    _Safe = yaml.SafeLoader
else:  # libyaml reads a megabyte in under two seconds, PyYAML's own parser in ten; both keep the same rules
    _Safe = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Safe):
    """YAML without what JSON has not: dates stay text, yes and no stay text, aliases are refused."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _error("a key must be text; a value that starts with {{ must be in quotes", key)
        mapping: dict[Any, Any] = super().construct_mapping(node, deep=deep)
        odd = next((key for key in mapping if not isinstance(key, str)), None)
        if odd is not None or len(mapping) < len(node.value):
            raise _error("a key occurs twice" if odd is None else f"the key {odd!r} is not text; put it in quotes", node)
        return mapping


def _error(problem: str, node: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)


JSON_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}


def _boolean(loader: _Loader, node: yaml.ScalarNode) -> Json:
    """`on`, `off`, `yes`, `no` and `y` are words, as in YAML 1.2."""
    return JSON_BOOLEANS.get(node.value, node.value)


def _number(loader: _Loader, node: yaml.ScalarNode) -> Json:
    if ":" in node.value or "_" in node.value:
        return str(node.value)
    value: float = loader.construct_yaml_float(node)
    if not math.isfinite(value):
        raise _error(f"{node.value} is not a JSON number", node)
    return value


def _whole(loader: _Loader, node: yaml.ScalarNode) -> Json:
    """Only what JSON writes as a number: 1:30 is a time of day and not ninety, 012 a code and not ten."""
    return int(node.value) if re.fullmatch(r"-?(0|[1-9]\d{0,999})", node.value) else node.value


def _refuse(loader: _Loader, node: yaml.Node) -> Json:
    raise _error(f"{node.tag} is nothing JSON can say", node)


def _as_text(loader: _Loader, node: yaml.ScalarNode) -> str:
    return str(node.value)


_Loader.add_constructor("tag:yaml.org,2002:timestamp", _as_text)
_Loader.add_constructor("tag:yaml.org,2002:bool", _boolean)
_Loader.add_constructor("tag:yaml.org,2002:int", _whole)
_Loader.add_constructor("tag:yaml.org,2002:float", _number)
for _tag in ("binary", "set", "omap", "pairs"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_tag}", _refuse)


class _Dumper(yaml.SafeDumper):
    """Long texts as blocks, nothing as an alias."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    words = {"yes", "no", "on", "off", "y", "n"}
    block = "\n" in text and text.isprintable() is False and not text.startswith((" ", "\n", "\t"))
    style = "|" if block else '"' if text.lower() in words else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)  # pyright: ignore[reportUnknownMemberType]


_Dumper.add_representer(str, _represent_text)


def _from_yaml(text: str) -> Json:
    try:
        depth = 0
        events: Any = yaml.parse(text, Loader=_Loader)
        for event in events:
            if isinstance(event, yaml.AliasEvent):
                raise _error("aliases (*name) are not allowed; write the value out", event)
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > MAX_DEPTH:
                raise Invalid("the document is nested too deeply")
        return yaml.load(text, Loader=_Loader)  # noqa: S506 -- a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark: Any = error.problem_mark
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise Invalid(f"not valid YAML: {error.problem}{where}") from None
    except (yaml.YAMLError, ValueError, RecursionError, OverflowError) as error:
        raise Invalid(f"not valid YAML: {str(error).splitlines()[0][:200]}") from None
