"""The steps of a run, in order."""

import asyncio
from collections.abc import Callable, Mapping

from ._conditions import holds
from ._exceptions import HttpStatus, InputInvalid, SchemaMismatch, StepError
from ._outbox import Outbox, timestamp
from ._protocol import Definition, Json, Result, Step, StepReport, StopCause
from ._redaction import MASK
from ._schemas import validate
from ._steps import Output, StepRunner
from ._templates import render


class Workflow:
    """Executes a definition and reports every step's fate to the outbox."""

    def __init__(
        self,
        definition: Definition,
        input_value: Json,
        *,
        steps: StepRunner,
        outbox: Outbox,
        stop_cause: Callable[[], StopCause],
    ) -> None:
        """`stop_cause` is asked when the running task is cancelled: it says what that step's status becomes."""
        self._definition = definition
        self._input = input_value
        self._steps = steps
        self._outbox = outbox
        self._stop_cause = stop_cause
        self._outputs: dict[str, Json] = {}

    async def run(self) -> Result:
        """Runs to the end and returns how it went. When cancelled it reports what it has and raises that again."""
        try:
            self._check_input()
            remaining = iter(self._definition["steps"])
            try:
                for step in remaining:
                    error = await self._run_step(step)
                    if error is not None and not step["continueOnError"]:
                        return self._failure(step, error)
            finally:
                for step in remaining:
                    self._outbox.step({"key": step["key"], "status": "SKIPPED"})
            return self._success()
        except InputInvalid as error:
            for step in self._definition["steps"]:
                self._outbox.step({"key": step["key"], "status": "SKIPPED"})
            return {"status": "FAILED", "reason": "INPUT_INVALID", "message": str(error)}

    def _check_input(self) -> None:
        if "inputSchema" in self._definition:
            try:
                validate(self._input, self._definition["inputSchema"], "the input")
            except (SchemaMismatch, StepError) as error:
                raise InputInvalid(str(error)) from error

    async def _run_step(self, step: Step) -> StepError | None:
        key = step["key"]
        started: StepReport = {"key": key, "status": "RUNNING", "startedAt": timestamp()}
        scope: Mapping[str, Json] = {"input": self._input, "steps": self._outputs}
        self._steps.tries = 0
        try:
            if "when" in step and not holds(step["when"], scope):
                self._outbox.log("INFO", "skipped: its condition does not hold", key)
                self._outbox.step({"key": key, "status": "SKIPPED"})
                return None
            self._outbox.step(started)
            output = await self._steps.run(step, scope)
        except StepError as error:
            self._outbox.log("ERROR", f"failed: {error}", key)
            self._outbox.step({**self._ended(started), "status": "FAILED", "error": _step_error(error)})
            return error
        except asyncio.CancelledError:
            cause = self._stop_cause()
            self._outbox.step(
                {
                    **self._ended(started),
                    "status": "CANCELED" if cause == "CANCELED" else "TIMEOUT",
                    "error": {"code": cause, "message": stop_message(cause)},
                }
            )
            raise
        self._outputs[key] = {"output": output}
        self._outbox.step({**self._ended(started), "status": "SUCCESS", "output": _reported(output)})
        return None

    def _ended(self, started: StepReport) -> StepReport:
        return {**started, "finishedAt": timestamp(), "tries": self._steps.tries}

    def _failure(self, step: Step, error: StepError) -> Result:
        tries = self._steps.tries
        after = f" after {tries} tries" if tries > 1 else ""
        return {
            "status": "FAILED",
            "reason": "STEP_FAILED",
            "message": f'step "{step["key"]}": {error}{after}',
            "error": {"code": error.code, "stepKey": step["key"]},
        }

    def _success(self) -> Result:
        if "output" not in self._definition:
            return {"status": "SUCCESS"}
        try:
            output = render(self._definition["output"], {"input": self._input, "steps": self._outputs})
        except StepError as error:
            return {
                "status": "FAILED",
                "reason": "STEP_FAILED",
                "message": f"output: {error}",
                "error": {"code": error.code},
            }
        return {"status": "SUCCESS", "output": output}


def stop_message(cause: StopCause) -> str:
    """Says in words why a run was stopped."""
    return "canceled on request" if cause == "CANCELED" else "stopped shortly before its deadline"


def _step_error(error: StepError) -> Json:
    details: dict[str, Json] = {"code": error.code, "message": str(error)}
    if isinstance(error, HttpStatus):
        details["status"] = error.status
    return details


def _reported(output: Output) -> Json:
    """What the record keeps of an output: a session cookie is a credential, though none of ours."""
    headers = output["headers"]
    if isinstance(headers, dict) and "set-cookie" in headers:
        return {**output, "headers": {**headers, "set-cookie": MASK}}
    return output
