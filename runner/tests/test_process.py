"""The process keeps its memory to itself and knows its age."""

import subprocess
import sys

from world import SOURCE


def run_isolated(program: str) -> str:
    """Runs a program in an interpreter of its own."""
    full = f"import sys; sys.path.insert(0, {str(SOURCE)!r}); {program}"
    return subprocess.run([sys.executable, "-I", "-c", full], check=True, capture_output=True, text=True).stdout.strip()


def test_there_are_no_core_dumps_and_no_reading_of_memory_by_others() -> None:
    program = (
        "from wormhole_runner._process import protect_memory; protect_memory();"
        "import ctypes, resource;"
        "print(resource.getrlimit(resource.RLIMIT_CORE), ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))"
    )
    assert run_isolated(program) == "(0, 0) 0"


def test_the_age_of_the_process_is_known() -> None:
    program = (
        "import time; time.sleep(0.3);"
        "from wormhole_runner._process import seconds_since_start; print(0.28 < seconds_since_start() < 5)"
    )
    assert run_isolated(program) == "True"


def test_only_what_a_first_step_needs_is_imported() -> None:
    program = (
        "import wormhole_runner._main;"
        "print(sorted({'jsonschema', 'pydantic', 'httpx', 'email.utils', 'referencing'} & set(sys.modules)))"
    )
    assert run_isolated(program) == "[]"
