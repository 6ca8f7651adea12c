"""The whole life of the process, and the exit code it ends with."""

import sys
from collections.abc import Mapping

from ._environment import read_environment
from ._exceptions import AttemptOver, GatewayUnreachable, RunnerError, WrongEnvironment
from ._gateway import Gateway
from ._session import Session
from ._startup import Startup

EXIT_DELIVERED = 0
EXIT_INTERNAL = 70
EXIT_UNREACHABLE = 75
EXIT_OVER = 77
EXIT_ENVIRONMENT = 78


async def run(environ: Mapping[str, str], startup: Startup) -> int:
    """
    Claims a run, executes it, and delivers its result. Returns the exit code (docs/gateway-protocol.md); the reason
    for one that is not 0 goes to the standard error.
    """
    try:
        await _run(environ, startup)
    except WrongEnvironment as error:
        return _end(EXIT_ENVIRONMENT, str(error))
    except AttemptOver as error:
        return _end(EXIT_OVER, str(error))
    except GatewayUnreachable as error:
        return _end(EXIT_UNREACHABLE, str(error))
    except RunnerError as error:
        return _end(EXIT_INTERNAL, str(error))
    except Exception as error:
        # Only its type: the text of an unexpected exception may hold a payload.
        return _end(EXIT_INTERNAL, f"internal error: {type(error).__name__}")
    return EXIT_DELIVERED


async def _run(environ: Mapping[str, str], startup: Startup) -> None:
    environment = read_environment(environ)
    gateway = Gateway(environment)
    try:
        claim = await gateway.claim()
        startup.lap("claim")
        await Session(gateway, claim, environment.claim_token, startup).run()
    finally:
        gateway.close()


def _end(code: int, message: str) -> int:
    print(f"wormhole-runner: {message}", file=sys.stderr)  # noqa: T201
    return code
