"""The process itself: when it started, and that its memory stays its own."""

import ctypes
import os
import resource
import time
from pathlib import Path

_PR_SET_DUMPABLE = 4
_START_TIME_FIELD = 22
_LONGEST_START_S = 60.0


def seconds_since_start() -> float | None:
    """How long ago this process was started, to 10 ms; None where the kernel does not tell."""
    try:
        # proc(5): fields count from 1; the second is the program's name in parentheses and may hold anything.
        fields = Path("/proc/self/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
        ticks = int(fields[_START_TIME_FIELD - 3])
    except (OSError, ValueError, IndexError):
        return None
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    # A sandbox with a clock of its own may report nonsense.
    return age if -0.02 <= age <= _LONGEST_START_S else None


def protect_memory() -> None:
    """Keeps credentials out of core dumps and away from ptrace by other processes of the same user."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
