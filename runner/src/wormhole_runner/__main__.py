"""`python -I -m wormhole_runner`."""

import gc
import os
import signal
import sys
import time
from types import FrameType

_ENTERED = time.monotonic()
# Nothing is worth collecting while modules load, and looking for it costs a twentieth of the start.
gc.disable()


def _exit_on_sigterm(_signal: int, _frame: FrameType | None) -> None:
    """Before the claim there is nothing to report. The kernel ignores signals that process 1 does not handle."""
    os._exit(128 + signal.SIGTERM)


def main() -> None:
    """Runs one attempt and ends the process."""
    signal.signal(signal.SIGTERM, _exit_on_sigterm)
    from ._process import protect_memory, seconds_since_start
    from ._startup import Startup

    startup = Startup(_ENTERED, seconds_since_start())
    protect_memory()

    import asyncio

    from ._main import run

    startup.lap("imports")
    gc.enable()
    code = asyncio.run(run(os.environ, startup))
    sys.stderr.flush()
    # Taking the interpreter apart would cost more than loading it, and everything has been delivered.
    os._exit(code)


if __name__ == "__main__":
    main()
