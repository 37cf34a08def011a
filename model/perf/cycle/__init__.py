"""The card and its host, cycle by cycle, on arrays: compiled by Numba when it is first used.

What is compiled is kept under build/, by a digest of these sources: Numba by itself looks only at the file of each
function, not at those of what it calls.
"""

import hashlib
from pathlib import Path

from numba import config

_SOURCES = sorted(Path(__file__).parent.glob("*.py"))
_DIGEST = hashlib.sha256(b"".join(source.read_bytes() for source in _SOURCES)).hexdigest()[:16]
config.CACHE_DIR = str(Path(__file__).parents[3] / "build" / "numba" / _DIGEST)
