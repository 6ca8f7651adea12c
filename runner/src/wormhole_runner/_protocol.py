"""
The shapes that go over the wire (docs/gateway-protocol.md) and of the definition within them.

They are plain dictionaries with names for the type checker: the gateway has validated what it sends and filled
in all defaults, so checking it again would only cost start-up time.
"""

from collections.abc import Mapping
from typing import Any, Literal, NotRequired, TypeAlias, TypedDict

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
"""A value that JSON can hold."""

StopCause = Literal["CANCELED", "DEADLINE_EXCEEDED"]
"""Why a run has to stop before its end."""

StepStatus = Literal["RUNNING", "SUCCESS", "FAILED", "SKIPPED", "TIMEOUT", "CANCELED"]

LogLevel = Literal["DEBUG", "INFO", "WARN", "ERROR"]


class RetryRule(TypedDict):
    strategy: Literal["NONE", "FIXED", "EXPONENTIAL"]
    attempts: int
    initialDelayMs: float
    maxDelayMs: float


class Condition(TypedDict):
    left: Json
    operator: str
    right: NotRequired[Json]


class AuthRule(TypedDict):
    connection: str


JsonSchema: TypeAlias = "bool | Mapping[str, Any]"


class HttpAction(TypedDict):
    method: str
    endpointTemplate: str
    headers: dict[str, str]
    query: dict[str, Json]
    body: NotRequired[Json]
    auth: NotRequired[AuthRule]
    inputSchema: NotRequired[JsonSchema]
    outputSchema: NotRequired[JsonSchema]
    timeoutMs: int
    retry: RetryRule


class Step(TypedDict):
    key: str
    action: HttpAction
    when: NotRequired[Condition]
    continueOnError: bool


class Definition(TypedDict):
    name: str
    inputSchema: NotRequired[JsonSchema]
    steps: list[Step]
    output: NotRequired[Json]


ApiKeyCredentials = TypedDict(
    "ApiKeyCredentials",
    {"kind": Literal["API_KEY"], "in": Literal["header", "query"], "name": str, "value": str},
)


class BasicCredentials(TypedDict):
    kind: Literal["BASIC"]
    username: str
    password: str


class HeaderCredentials(TypedDict):
    kind: Literal["CUSTOM_HEADER"]
    headers: dict[str, str]


class OAuthCredentials(TypedDict):
    kind: Literal["OAUTH2"]
    accessToken: str


Credentials: TypeAlias = ApiKeyCredentials | BasicCredentials | HeaderCredentials | OAuthCredentials


class UnavailableCredentials(TypedDict):
    kind: Literal["UNAVAILABLE"]
    message: str


ClaimedConnection: TypeAlias = Credentials | UnavailableCredentials


class RunInfo(TypedDict):
    id: str
    attempt: int
    tenantId: str
    workflowVersionId: str


class Egress(TypedDict):
    proxyUrl: str
    grant: str


class Limits(TypedDict):
    outputBytes: int
    logMessageBytes: int
    logBytesPerRun: int
    responseBytes: int


class Claim(TypedDict):
    run: RunInfo
    definition: Definition
    input: Json
    connections: dict[str, Credentials]
    traceparents: NotRequired[dict[str, str]]
    deadlineMs: float
    reportToken: str
    egress: Egress
    limits: Limits


class StepReport(TypedDict):
    key: str
    status: StepStatus
    startedAt: NotRequired[str]
    finishedAt: NotRequired[str]
    tries: NotRequired[int]
    output: NotRequired[Json]
    error: NotRequired[Json]


class LogLine(TypedDict):
    sequence: int
    timestamp: str
    level: LogLevel
    stepKey: NotRequired[str]
    message: str


class Batch(TypedDict):
    sequence: int
    steps: list[StepReport]
    logs: list[LogLine]
    droppedLogs: int


RunStatus = Literal["SUCCESS", "FAILED", "TIMEOUT", "CANCELED"]


class Result(TypedDict):
    status: RunStatus
    reason: NotRequired[str]
    message: NotRequired[str]
    error: NotRequired[Json]
    output: NotRequired[Json]
