"""Work that yields now and then, for a caller that wants to live meanwhile."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, TypeVar

T = TypeVar("T")

Making = Generator[float | None, None, T]
"""Yields the share of itself that is done, 0 to 1, or None where it cannot tell."""


def finished(work: Generator[Any, Any, T]) -> T:
    """Do all of it at once, and return what comes out."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]


def telling(work: Generator[None, None, T], share: float) -> Making[T]:
    """Do the work, yielding the share of a larger one that was done before it."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        yield share
