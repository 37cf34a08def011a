"""lz4 for Verilator's FST writer: the system's, or the sources that PyPI's package of that name carries.

Only traced builds need it. The system's needs its development package; else the sources come from PyPI once, into
build/lz4, and are compiled there.
"""

import fcntl
import re
import subprocess
import sys
import tarfile
from pathlib import Path

__all__ = ["Lz4Error", "lz4_arguments"]

PINNED = "lz4==4.4.5"
INSTALL = "apt-get install liblz4-dev"
SYSTEM = ("/usr/include", "/usr/local/include")


class Lz4Error(Exception):
    """lz4 can't be had; the message is one line with the command to run."""


def lz4_arguments(folder, compiler, *, system=SYSTEM):
    """Verilator's arguments by which a traced build finds lz4.h and the library, none if the system has both.

    Parameters
    ----------
    folder : Path
        where what comes from PyPI is kept
    compiler : str
        C++ compiler's name; lz4 compiles as C with it
    """
    if any((Path(place) / "lz4.h").exists() for place in system):
        return []
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "liblz4.a").exists():
            _fetch(folder)
            _compile(folder, compiler)
    return ["-CFLAGS", f"-I{folder.resolve()}", "-LDFLAGS", f"-L{folder.resolve()}"]


def _fetch(folder):
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
               "--no-binary", "lz4", "--dest", str(folder), PINNED]
    done = subprocess.run(command, capture_output=True, text=True)
    archives = sorted(folder.glob("lz4-*.tar.gz"))
    if done.returncode or not archives:
        raise Lz4Error(f"FST waveforms need lz4.h, which is not installed, and PyPI's {PINNED} can't be had: "
                       f"run '{INSTALL}'")
    with tarfile.open(archives[0]) as archive:
        for member in archive:
            name = re.fullmatch(r"[^/]+/lz4libs/(lz4\.[ch])", member.name)
            if name and member.isfile():
                (folder / name[1]).write_bytes(archive.extractfile(member).read())


def _compile(folder, compiler):
    commands = [[compiler, "-x", "c", "-O2", "-c", "lz4.c", "-o", "lz4.o"], ["ar", "rcs", "liblz4.a", "lz4.o"]]
    for command in commands:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        if done.returncode:
            raise Lz4Error(f"FST waveforms need lz4, which did not compile here: run '{INSTALL}'")
