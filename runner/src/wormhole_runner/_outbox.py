"""What still has to be reported: redacted and bounded on the way in, batched on the way out."""

import asyncio
import json
from datetime import UTC, datetime

from ._protocol import Batch, Json, Limits, LogLevel, LogLine, Result, StepReport
from ._redaction import Redactor

BATCH_BYTES = 1024 * 1024
"""A batch is closed at this size; the gateway takes twice as much in one body."""
_PREVIEW_CHARACTERS = 1024
_LINE_BYTES = 64
"""What a log line counts beside its message, as the gateway counts it."""


class Outbox:
    """Step transitions and log lines, in order, that the gateway has not been told yet."""

    def __init__(self, limits: Limits, redactor: Redactor) -> None:
        self._limits = limits
        self._redactor = redactor
        self._steps: list[StepReport] = []
        self._logs: list[LogLine] = []
        self._dropped = 0
        self._log_sequence = 0
        self._log_bytes = 0
        self._news = asyncio.Event()

    def step(self, report: StepReport) -> None:
        """Adds a step's transition, its output replaced by a truncation record if it is too large."""
        safe = report.copy()
        if "output" in report:
            safe["output"] = self._bounded(report["output"])
        if "error" in report:
            safe["error"] = self._redactor.value(report["error"])
        self._steps.append(safe)
        self._news.set()

    def log(self, level: LogLevel, message: str, step_key: str | None = None) -> None:
        """Adds a log line; over the run's limit it is dropped and counted."""
        text = _cut(self._redactor.text(message), self._limits["logMessageBytes"])
        size = len(_utf8(text)) + _LINE_BYTES
        self._news.set()
        if self._log_bytes + size > self._limits["logBytesPerRun"]:
            self._dropped += 1
            return
        self._log_bytes += size
        self._log_sequence += 1
        line: LogLine = {
            "sequence": self._log_sequence,
            "timestamp": timestamp(),
            "level": level,
            "message": text,
        }
        if step_key is not None:
            line["stepKey"] = step_key
        self._logs.append(line)

    def result(self, result: Result) -> Result:
        """Makes a result fit to be sent."""
        safe = result.copy()
        if "message" in result:
            safe["message"] = _cut(self._redactor.text(result["message"]), self._limits["logMessageBytes"])
        if "error" in result:
            safe["error"] = self._redactor.value(result["error"])
        if "output" in result:
            safe["output"] = self._bounded(result["output"])
        return safe

    async def news(self) -> None:
        """Waits until there is something to report."""
        await self._news.wait()

    def take(self, sequence: int) -> Batch | None:
        """Takes the next batch out, or None when there is nothing to report."""
        if not (self._steps or self._logs or self._dropped):
            return None
        batch: Batch = {"sequence": sequence, "steps": [], "logs": [], "droppedLogs": self._dropped}
        self._dropped = 0
        size = 0
        while self._steps and size < BATCH_BYTES:
            batch["steps"].append(self._steps.pop(0))
            size += len(encode(batch["steps"][-1]))
        taken = 0
        while taken < len(self._logs) and size < BATCH_BYTES:
            size += len(encode(self._logs[taken]))
            taken += 1
        batch["logs"], self._logs = self._logs[:taken], self._logs[taken:]
        if not (self._steps or self._logs):
            self._news.clear()
        return batch

    def _bounded(self, value: Json) -> Json:
        safe = self._redactor.value(value)
        data = encode(safe)
        if len(data) <= self._limits["outputBytes"]:
            return safe
        preview = data[: 4 * _PREVIEW_CHARACTERS].decode("utf-8", "ignore")[:_PREVIEW_CHARACTERS]
        return {"truncated": True, "bytes": len(data), "preview": preview}


def encode(value: object) -> bytes:
    """Writes compact JSON; what UTF-8 cannot express becomes a question mark."""
    return _utf8(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def timestamp() -> str:
    """The time now, ISO 8601 in UTC with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "replace")


def _cut(text: str, limit: int) -> str:
    data = _utf8(text)
    if len(data) <= limit:
        return text
    ellipsis = "…".encode()
    return (data[: max(0, limit - len(ellipsis))] + ellipsis).decode("utf-8", "ignore")
