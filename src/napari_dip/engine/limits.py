"""Where a run ends at the latest."""

from __future__ import annotations

import numbers
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Limits:
    """Where a run ends at the latest: steps of each fit, seconds of all; and how many GiB it may take."""

    steps: int | None = None
    seconds: float | None = None
    memory: float | None = None

    def __post_init__(self) -> None:
        steps: Any = self.steps
        if steps is not None and not (isinstance(steps, numbers.Integral) and steps is not True and int(steps) >= 1):
            raise ValueError(f"max_steps={steps!r}: it must be a whole number, at least 1")
        for name in ("seconds", "memory"):
            value: Any = getattr(self, name)
            if value is not None and not (isinstance(value, numbers.Real) and float(value) >= 0):
                raise ValueError(f"max_{name}={value!r}: it must be at least 0")
