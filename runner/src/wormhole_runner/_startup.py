"""How long it took from our first line to the first request, and where the time went."""

import time

from ._outbox import Outbox


class Startup:
    """A stopwatch with one lap for each phase of the start."""

    def __init__(self, entered: float, process_age_s: float | None) -> None:
        """
        `entered`: what the monotonic clock showed at our first line.
        `process_age_s`: how old the process is now, if that is known. In a container that includes what the runtime
        did in this process before it became the interpreter, and the kernel does not tell how much that was; so it
        is reported beside our own time, not within it.
        """
        self._entered = self._last = entered
        self._before_s = None if process_age_s is None else process_age_s - (time.monotonic() - entered)
        self._laps: list[str] = []

    def lap(self, name: str) -> None:
        """Ends a phase."""
        now = time.monotonic()
        self._laps.append(f"{name} {_ms(now - self._last)}")
        self._last = now

    def first_request(self, outbox: Outbox, step_key: str) -> None:
        """Writes the breakdown to the log when called for the first time: the first request is about to leave."""
        if not self._laps:
            return
        self.lap("first request")
        message = f"runner started in {_ms(self._last - self._entered)} ({', '.join(self._laps)})"
        if self._before_s is not None:
            message += f", after {_ms(max(0.0, self._before_s))} of container set-up and interpreter"
        outbox.log("DEBUG", message, step_key)
        self._laps.clear()


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"
