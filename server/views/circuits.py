"""How targets that steps call look from outside."""

from __future__ import annotations

from server.views import View, filled, stamp
from store.circuits import Circuit

PERIODS = {1: "s", 60: "min", 3600: "h"}


def circuit_view(circuit: Circuit) -> View:
    """A target: whether it may be called, why not, and how often."""
    holding = circuit.hold_until is not None and circuit.hold_until > circuit.now
    return filled(
        {
            "target": circuit.target,
            "state": circuit.state,
            "failures": len(circuit.failed_at),
            "opened_at": stamp(circuit.opened_at),
            "retry_at": stamp(circuit.retry_at),
            "times_opened": circuit.times_opened,
            "last_error": circuit.last_error,
            "last_error_at": stamp(circuit.last_error_at),
            "held_until": stamp(circuit.hold_until) if holding else None,
            "rate": f"{circuit.limit_calls}/{PERIODS[circuit.limit_seconds]}" if circuit.limit_seconds else None,
            "burst": circuit.limit_burst,
        }
    )
