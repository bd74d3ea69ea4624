"""Every fault that the sandbox can script, by name. Constants are found by inspection, so none is forgotten."""

from __future__ import annotations

from datetime import timedelta
from typing import get_args

from sandbox.aws import faults

FAULT_TYPES = get_args(faults.Fault)
SAMPLES: dict[str, faults.Fault] = {
    **{name: value for name, value in vars(faults).items() if isinstance(value, FAULT_TYPES)},
    **{f"Spoiled.{spoiled.name}": spoiled for spoiled in faults.Spoiled},
    **{f"Blank.{one.name}": faults.Blank(field=one) for one in faults.Field},
    **{f"Missing.{one.name}": faults.Missing(field=one) for one in faults.Field},
    **{f"Broken.{body.name}": faults.Broken(status=500, body=body) for body in faults.Body},
    "Latency": faults.Latency(seconds=0.05),
    "Drip": faults.Drip(pause_seconds=0.001, piece_bytes=100),
    "SkewedDate": faults.SkewedDate(by=timedelta(hours=2)),
    "Reset": faults.Reset(),
    "Hang": faults.Hang(),
}
