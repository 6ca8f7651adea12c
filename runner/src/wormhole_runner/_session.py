"""One attempt, from its claim to the delivery of its result."""

import asyncio
import signal
import time
from contextlib import suppress
from pathlib import Path

from ._egress import EgressProxy
from ._exceptions import GatewayUnreachable
from ._gateway import Gateway
from ._outbox import Outbox
from ._protocol import Batch, Claim, Result, RunStatus, StopCause
from ._redaction import Redactor, secrets_of
from ._startup import Startup
from ._steps import StepRunner
from ._streams import parse_address
from ._workflow import Workflow, stop_message

HEARTBEAT_S = 2.0
"""A report is sent this often even if there is nothing to say, because its answer may be "stop"."""
LINGER_S = 0.1
"""How long a report waits for more to come: a short run needs only one."""
DEADLINE_MARGIN_S = 1.0
"""How long before the deadline a run ends itself; a tenth of the time it has if that is less."""
STOP_PATIENCE_S = 3.5
"""How long a stopped run tries to deliver its result: the container is killed after 5 s."""
SIGTERM_DEADLINE_S = 1.0
"""A SIGTERM this close to the deadline means the deadline."""


class Session:
    """Runs the claimed workflow, reports, and delivers the result."""

    def __init__(self, gateway: Gateway, claim: Claim, claim_token: str, startup: Startup) -> None:
        self._gateway = gateway
        self._token = claim["reportToken"]
        self._deadline = time.monotonic() + claim["deadlineMs"] / 1000
        self._margin = min(DEADLINE_MARGIN_S, claim["deadlineMs"] / 10_000)
        self._cause: StopCause | None = None
        self._delivery: asyncio.Timeout | None = None
        self._batch: Batch | None = None
        self._sequence = 0
        egress = claim["egress"]
        secrets = secrets_of(claim["connections"].values()) | {egress["grant"], self._token, claim_token}
        self._outbox = Outbox(claim["limits"], Redactor(secrets))
        steps = StepRunner(
            run_id=claim["run"]["id"],
            connections=claim["connections"],
            traceparents=claim.get("traceparents", {}),
            egress=EgressProxy(parse_address(egress["proxyUrl"], "egress.proxyUrl"), egress["grant"]),
            response_bytes=claim["limits"]["responseBytes"],
            outbox=self._outbox,
            startup=startup,
        )
        self._workflow_run = Workflow(
            claim["definition"],
            claim["input"],
            steps=steps,
            outbox=self._outbox,
            stop_cause=lambda: self._cause or "CANCELED",
        )
        self._workflow: asyncio.Task[Result] | None = None

    async def run(self) -> None:
        """
        Runs to the end, whatever it is, and delivers the result. A failure of this program itself is delivered as
        RUNNER_CRASHED and then raised. Raises `AttemptOver`, `GatewayRefused` or `GatewayUnreachable`.
        """
        loop = asyncio.get_running_loop()
        self._workflow = asyncio.create_task(self._workflow_run.run())
        reporter = asyncio.create_task(self._report_until_cancelled())
        until_stop = max(0.0, self._deadline - self._margin - time.monotonic())
        timer = loop.call_later(until_stop, self._stop, "DEADLINE_EXCEEDED")
        loop.add_signal_handler(signal.SIGTERM, self._on_sigterm)
        try:
            await asyncio.wait({self._workflow, reporter}, return_when=asyncio.FIRST_COMPLETED)
            if reporter.done():
                # It ends by itself only with an error: nobody listens any more.
                self._workflow.cancel()
                await asyncio.wait({self._workflow})
                reporter.result()
            reporter.cancel()
            await asyncio.wait({reporter})
            if not reporter.cancelled():
                reporter.result()
            crash = await self._deliver(self._workflow)
        finally:
            loop.remove_signal_handler(signal.SIGTERM)
            timer.cancel()
        if crash is not None:
            raise crash

    def _stop(self, cause: StopCause) -> None:
        if self._cause is None and self._workflow is not None and not self._workflow.done():
            self._cause = cause
            self._workflow.cancel()

    def _on_sigterm(self) -> None:
        left = self._deadline - time.monotonic()
        self._stop("DEADLINE_EXCEEDED" if left <= SIGTERM_DEADLINE_S else "CANCELED")
        if self._delivery is not None:
            loop = asyncio.get_running_loop()
            self._delivery.reschedule(min(self._delivery.when() or 0.0, loop.time() + STOP_PATIENCE_S))

    async def _deliver(self, workflow: asyncio.Task[Result]) -> BaseException | None:
        """Sends what is left and the result. Returns the exception of a crashed workflow."""
        crash: BaseException | None = None
        try:
            await asyncio.wait({workflow})
            result = workflow.result()
        except asyncio.CancelledError:
            result = _stopped(self._cause or "CANCELED")
        except Exception as error:
            crash, result = error, _crashed(error)
        left = self._deadline - time.monotonic()
        patience = STOP_PATIENCE_S if self._cause is not None else max(left, STOP_PATIENCE_S)
        try:
            async with asyncio.timeout(patience) as self._delivery:
                while await self._report(heartbeat=False):
                    pass
                await self._gateway.result(self._token, self._outbox.result(result))
        except TimeoutError as error:
            raise GatewayUnreachable("the gateway did not take the result in time") from error
        return crash

    async def _report_until_cancelled(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(HEARTBEAT_S):
                    await self._outbox.news()
                await asyncio.sleep(LINGER_S)
            await self._report(heartbeat=True)

    async def _report(self, *, heartbeat: bool) -> bool:
        """Sends one batch and obeys the answer; tells whether there was one. An interrupted one is sent again."""
        if self._batch is None:
            self._batch = self._outbox.take(self._sequence + 1)
            if self._batch is None and heartbeat:
                self._batch = {"sequence": self._sequence + 1, "steps": [], "logs": [], "droppedLogs": 0}
        if self._batch is None:
            return False
        self._sequence = self._batch["sequence"]
        cancel = await self._gateway.report(self._token, self._batch)
        self._batch = None
        if cancel is not None:
            self._stop(cancel)
        return True


def _stopped(cause: StopCause) -> Result:
    status: RunStatus = "CANCELED" if cause == "CANCELED" else "TIMEOUT"
    return {"status": status, "reason": cause, "message": stop_message(cause)}


def _crashed(error: Exception) -> Result:
    """Names where, and not what: the text of an unexpected exception may hold anything."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else "an unknown place"
    return {
        "status": "FAILED",
        "reason": "RUNNER_CRASHED",
        "message": f"internal error of the runner: {type(error).__name__} in {where}",
    }
