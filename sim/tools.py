"""Programs that pip can't bring: look for them, and install them where the system package manager is usable.

    python -m sim.tools icarus tshark

says what it installs. A program that can't be had is named with the command that would install it, and the tests that
need it say so when they skip.
"""

import os
import shutil
import subprocess
import sys

__all__ = ["TOOLS", "missing", "ensure"]


# name → (executable, Debian package)
TOOLS = {"icarus": ("iverilog", "iverilog"), "tshark": ("tshark", "tshark")}


def missing(name):
    """None if the program is there, else the reason a test skips for."""
    executable, package = TOOLS[name]
    return None if shutil.which(executable) else f"{executable} is not installed: apt-get install {package}"


def ensure(name):
    """Install a missing program if we may; returns what is wrong, or None."""
    reason = missing(name)
    if reason is None:
        return None
    executable, package = TOOLS[name]
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return reason
    print(f"tools: installing {package} with the system package manager", flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["apt-get", "update", "-qq"], ["apt-get", "install", "-y", "-qq", package]):
        out = subprocess.run(command, env=environment, capture_output=True, text=True)
    if out.returncode:
        return f"{reason} (the package manager said: {(out.stderr.strip().splitlines() or ['nothing'])[-1]})"
    return missing(name)


def main():
    for name in sys.argv[1:]:
        if name not in TOOLS:
            print(f"tools: unknown program {name!r}", file=sys.stderr)
            return 2
        reason = ensure(name)
        if reason:
            print(f"tools: tests that need {name} will be skipped: {reason}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
