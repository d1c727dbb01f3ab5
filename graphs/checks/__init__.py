"""Checks of a definition: everything that is wrong with it, where, and how to repair it."""

from __future__ import annotations

from graphs.checks.check import check
from graphs.checks.diagnostic import Diagnostic, Report
from graphs.checks.known import Known

__all__ = ["Diagnostic", "Known", "Report", "check"]
