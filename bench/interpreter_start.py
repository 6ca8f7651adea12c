"""
Prints how long the interpreter takes, with the runner's options, from the start of a process to the first line of the
module that it runs: milliseconds, of which the runner itself can see nothing.
"""

import subprocess
import sys
import time

REPETITIONS = 3


def start() -> float:
    begin = time.perf_counter()
    # A module of the standard library that does nothing but print.
    command = [sys.executable, "-I", "-X", "utf8", "-m", "__hello__"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        child.stdout.read(1)
        return (time.perf_counter() - begin) * 1000


print(sorted(start() for _ in range(REPETITIONS))[REPETITIONS // 2])
