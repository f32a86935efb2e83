"""Work that yields now and then, for a caller that wants to live meanwhile."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, TypeVar

T = TypeVar("T")


def finished(work: Generator[Any, Any, T]) -> T:
    """Do all of it at once, and return what comes out."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
