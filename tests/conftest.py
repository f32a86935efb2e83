"""What all tests have: the same random numbers every time, and a Python beside this one for scripts."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

SERVER = """
import contextlib, io, json, os, runpy, sys, traceback
for line in sys.stdin:
    script, folder = json.loads(line)
    os.chdir(folder)
    printed, complaints = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(complaints):
        try:
            runpy.run_path(script, run_name="__main__")
        except BaseException:
            traceback.print_exc()
    print(json.dumps([printed.getvalue(), complaints.getvalue()]), flush=True)
"""


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Let a test draw the same numbers whatever ran before it."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def script() -> Iterator[Callable[[Path, Path], str]]:
    """Run a script in a folder and return what it prints; an error, a warning or 300 s fail it.

    The process starts once, which takes seconds.
    """
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    given, told = process.stdin, process.stdout

    def run(path: Path, folder: Path) -> str:
        timer = threading.Timer(300, process.kill)
        timer.start()
        given.write(json.dumps([str(path), str(folder)]) + "\n")
        given.flush()
        answer = told.readline()
        timer.cancel()
        assert answer, f"{path.name} ended the process, or took too long"
        printed, complaints = json.loads(answer)
        assert complaints == ""
        return str(printed)

    yield run
    given.close()
    process.wait(60)
    told.close()
