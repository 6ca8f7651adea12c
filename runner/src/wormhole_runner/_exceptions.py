"""
Everything that the runner raises on purpose.

::

    RunnerError
    ├── WrongEnvironment            exit 78: a variable or the token file is missing or wrong
    ├── GatewayUnreachable          exit 75: no answer, or 5xx, for as long as it makes sense to ask
    ├── GatewayRefused              exit 70: the gateway understood, and said no
    │   └── AttemptOver             exit 77: the claim was refused, or the attempt has ended
    ├── TransportError              a request got no answer
    │   ├── ConnectFailed           and never left: repeating it is always safe
    │   └── CertificateRefused      the peer's certificate does not verify
    ├── MessageTooLarge             a response is over its limit
    ├── MessageInvalid              a response cannot be understood
    ├── InputInvalid                the run's input does not satisfy the definition's inputSchema
    ├── SchemaMismatch              a value does not satisfy a JSON Schema
    └── StepError                   a step failed; `code` says how
        ├── TemplateInvalid         TEMPLATE_INVALID
        ├── TemplateValueMissing    TEMPLATE_VALUE_MISSING
        ├── ConditionInvalid        CONDITION_INVALID
        ├── RequestInvalid          REQUEST_INVALID
        ├── RequestBodyInvalid      REQUEST_BODY_INVALID
        ├── SchemaInvalid           SCHEMA_INVALID
        ├── CredentialsUnavailable  CREDENTIALS_UNAVAILABLE
        ├── EgressDenied            EGRESS_DENIED
        ├── TlsFailed               TLS_FAILED
        ├── ResponseTooLarge        RESPONSE_TOO_LARGE
        ├── ResponseInvalid         RESPONSE_INVALID
        ├── ResponseBodyInvalid     RESPONSE_BODY_INVALID
        └── TryFailed               another try may help
            ├── ConnectionFailed    CONNECTION_FAILED
            ├── TryTimeout          TIMEOUT
            └── HttpStatus          HTTP_STATUS; only some statuses are tried again

Messages name the thing, the value and the way out. Secrets that slip into one through a far side's answer are
redacted before it leaves the process.
"""

from typing import ClassVar


class RunnerError(Exception):
    """Base of all errors of this package."""


class WrongEnvironment(RunnerError):
    """The environment that the container was started with is wrong."""


class GatewayUnreachable(RunnerError):
    """The gateway gave no usable answer."""


class GatewayRefused(RunnerError):
    """The gateway refused a request for good."""


class AttemptOver(GatewayRefused):
    """The claim was refused, or the attempt has ended: there is nothing left to do for this process."""


class TransportError(RunnerError):
    """A request got no answer; whether the peer saw it is unknown."""


class ConnectFailed(TransportError):
    """The connection could not be made, so the request was never sent."""


class CertificateRefused(TransportError):
    """The peer's TLS certificate does not verify."""


class MessageTooLarge(RunnerError):
    """A response's body, after decompression, is over its limit."""


class MessageInvalid(RunnerError):
    """A response breaks its own framing or encoding."""


class InputInvalid(RunnerError):
    """The run's input does not satisfy the definition's `inputSchema`."""


class SchemaMismatch(RunnerError):
    """A value does not satisfy a JSON Schema; the message says where."""


class StepError(RunnerError):
    """A step failed. `code` is one of the codes in docs/workflow-definition.md."""

    code: ClassVar[str]


class TemplateInvalid(StepError):
    """Something between ``{{`` and ``}}`` is not a path."""

    code = "TEMPLATE_INVALID"


class TemplateValueMissing(StepError):
    """A template names a value that is not there."""

    code = "TEMPLATE_VALUE_MISSING"


class ConditionInvalid(StepError):
    """The two sides of a `when` cannot be compared."""

    code = "CONDITION_INVALID"


class RequestInvalid(StepError):
    """The rendered URL, query or headers do not make a request."""

    code = "REQUEST_INVALID"


class RequestBodyInvalid(StepError):
    """The rendered body does not satisfy the action's `inputSchema`."""

    code = "REQUEST_BODY_INVALID"


class SchemaInvalid(StepError):
    """A JSON Schema is itself wrong, refers to something outside itself, or takes too long."""

    code = "SCHEMA_INVALID"


class CredentialsUnavailable(StepError):
    """The platform could not get usable credentials for the connection."""

    code = "CREDENTIALS_UNAVAILABLE"


class EgressDenied(StepError):
    """The egress proxy refuses the host and port."""

    code = "EGRESS_DENIED"


class TlsFailed(StepError):
    """The far side's certificate does not verify."""

    code = "TLS_FAILED"


class ResponseTooLarge(StepError):
    """The response's body, decompressed, is over the limit."""

    code = "RESPONSE_TOO_LARGE"


class ResponseInvalid(StepError):
    """The response's body is not what its headers say."""

    code = "RESPONSE_INVALID"


class ResponseBodyInvalid(StepError):
    """The response's body does not satisfy the action's `outputSchema`."""

    code = "RESPONSE_BODY_INVALID"


class TryFailed(StepError):
    """A try failed in a way that time may heal."""

    retryable = True
    """Whether another try may help."""
    retry_after_ms: float | None = None
    """How long the far side asked us to wait, in milliseconds."""


class ConnectionFailed(TryFailed):
    """The far side could not be reached, or went away before it had answered."""

    code = "CONNECTION_FAILED"


class TryTimeout(TryFailed):
    """The try took longer than the action's `timeoutMs`."""

    code = "TIMEOUT"


class HttpStatus(TryFailed):
    """The far side answered with a status that is not 2xx."""

    code = "HTTP_STATUS"

    def __init__(self, message: str, *, status: int, retryable: bool, retry_after_ms: float | None) -> None:
        super().__init__(message)
        self.status = status
        self.retryable = retryable
        self.retry_after_ms = retry_after_ms
