"""Expressions, templates and scripts: one language, Python syntax, evaluated in sandboxed worker processes with hard limits."""

from __future__ import annotations

from graphs.expressions.evaluator import Evaluator
from graphs.expressions.paths import ExpressionError
from graphs.expressions.syntax import Reference, parse, references
from graphs.expressions.template import Template, raw_fields

__all__ = ["Evaluator", "ExpressionError", "Reference", "Template", "parse", "raw_fields", "references"]
