"""How long it took from process start to the first request, and where the time went."""

import time

from ._outbox import Outbox


class Startup:
    """A stopwatch with one lap for each phase of the start."""

    def __init__(self, entered: float, process_age_s: float | None) -> None:
        """
        `entered`: what the monotonic clock showed at our first line.
        `process_age_s`: how old the process is now, if that is known.
        """
        age = time.monotonic() - entered if process_age_s is None else process_age_s
        self._begin = self._last = min(entered, time.monotonic() - age)
        self._laps: list[str] = []
        self._lap_at("interpreter", entered)

    def lap(self, name: str) -> None:
        """Ends a phase."""
        self._lap_at(name, time.monotonic())

    def _lap_at(self, name: str, now: float) -> None:
        self._laps.append(f"{name} {_ms(now - self._last)}")
        self._last = now

    def first_request(self, outbox: Outbox, step_key: str) -> None:
        """Writes the breakdown to the log when called for the first time: the first request is about to leave."""
        if not self._laps:
            return
        self.lap("first request")
        total = _ms(self._last - self._begin)
        outbox.log("DEBUG", f"runner started in {total} ({', '.join(self._laps)})", step_key)
        self._laps.clear()


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"
