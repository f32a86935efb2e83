"""The shell command `napari-dip`: one sub-command per task, its flags made from the task's fields."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable, Sequence

BAD_INPUT = 2
FAILED = 1
ABORTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code: 0, 1 failed, 2 bad input, 130 or 143 ended by a signal."""
    from napari_dip.cli.arguments import build_parser  # PyTorch takes a second: `--help` alone needs it too
    from napari_dip.cli.recalling import recall

    parser = build_parser()
    options = parser.parse_args(arguments)
    from napari_dip import RestorationError

    try:
        if getattr(options, "settings", None):
            recall(options)
            options = parser.parse_args(arguments)
        command: Callable[[argparse.Namespace], int] = options.command
        return command(options)
    except (ValueError, TypeError, OSError) as error:
        return _say(error, BAD_INPUT)
    except RestorationError as error:
        return _say(error, FAILED)
    except MemoryError as error:
        return _say(f"memory does not suffice: {error}".rstrip(": "), FAILED)
    except KeyboardInterrupt:  # the second one, or before the fit has begun
        return ABORTED


def _say(error: object, code: int) -> int:
    text = " ".join(str(error).split())
    with contextlib.suppress(OSError):
        print(f"napari-dip: {text or type(error).__name__}", file=sys.stderr)
    return code
