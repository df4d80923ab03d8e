"""`python -m tests.lab up | down | status | demo`: a lab for people, see `make help`."""

from __future__ import annotations

import argparse
import sys

from tests.lab import standing
from tests.lab.gobuild import BuildFailedError
from tests.lab.processes import ProcessFailedError
from tests.lab.toolchain import ROOT, Toolchain
from tests.lab.waiting import DeadlineError

_SHORT = standing.ENV.relative_to(ROOT)


def up() -> int:
    """Start the lab unless it runs, and say how to use it."""
    toolchain = Toolchain()
    toolchain.prepare()
    fresh = standing.up(toolchain)
    print(f"The lab {'is up' if fresh else 'was up already'}. Its settings: . {_SHORT}")
    print("Then, for instance: kubectl get rplan,protgrp -n $LAB_NAMESPACE")
    print(f"Its files and logs are in {standing.FOLDER}. It is stopped by `make lab-down`.")
    return 0


def down() -> int:
    """Stop the lab."""
    stopped = standing.down()
    print(f"Stopped: {', '.join(stopped)}." if stopped else "No lab was running.")
    return 0


def status() -> int:
    """Say what runs; exit code 1 unless the whole lab does."""
    alive, all_of_it = standing.running(), standing.recorded()
    for name, process in alive.items():
        print(f"{name:<16} pid {process.pid}")
    print(f"{len(alive)} of {all_of_it} processes run." if all_of_it else "No lab is up.")
    return 0 if alive and len(alive) == all_of_it else 1


def demo() -> int:
    """Show a planned migration from beginning to end, on a lab of its own."""
    from tests.lab.demo import run  # what it needs to draw is not needed by the other commands

    toolchain = Toolchain()
    toolchain.prepare()
    return run(toolchain)


def main() -> int:
    """Run one command and return its exit code; a failure is told in the words of what failed."""
    commands = {"up": up, "down": down, "status": status, "demo": demo}
    parser = argparse.ArgumentParser(prog="python -m tests.lab", description=__doc__)
    parser.add_argument("command", choices=commands)
    chosen = commands[parser.parse_args().command]
    try:
        return chosen()
    except (BuildFailedError, ProcessFailedError, DeadlineError, RuntimeError) as failure:
        print(f"lab: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("lab: interrupted; everything it had started has been stopped", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
