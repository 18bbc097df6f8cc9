"""The `octopoid` command, as `python -m octopoid` and as the script that the package installs."""

from __future__ import annotations

import os
import signal
import sys


def main() -> int:
    """Runs the command line of this process and gives its exit code."""
    from . import _native

    # Python only notes Ctrl-C and would act on it after the command; the command itself knows what to do.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    make_findable()
    program = sys.argv[0]
    if os.path.basename(program) == "__main__.py":
        program = "octopoid"
    return _native.main([program, *sys.argv[1:]])


def make_findable() -> None:
    """Has agents, and the command itself, find `octopoid` also where its virtual environment is not on the PATH."""
    import shutil
    import sysconfig

    script = os.path.join(sysconfig.get_path("scripts"), "octopoid")
    if os.path.isfile(script):
        # This very version, not one that happens to come first on the PATH.
        os.environ.setdefault("OCTOPOID_PROGRAM", script)
    if shutil.which("octopoid") is None:
        scripts = sysconfig.get_path("scripts")
        os.environ["PATH"] = os.pathsep.join(filter(None, [os.environ.get("PATH"), scripts]))


if __name__ == "__main__":
    sys.exit(main())
