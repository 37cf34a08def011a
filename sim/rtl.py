"""Generated Verilog, cached by what it was generated from."""

import ast
import fcntl
import hashlib
import importlib.metadata
from pathlib import Path

from hdl.generate import TOP, generate

from .simulators import BUILD, ROOT

__all__ = ["TOP", "behaviour_digest", "sources_digest", "verilog_of"]


def sources_digest():
    """Digest of everything that the RTL depends on besides its configuration."""
    return _digest(Path.read_bytes)


def behaviour_digest():
    """Digest of what the RTL does, cycle by cycle: the same whatever comments, docstrings and event taps say."""
    return _digest(lambda path: ast.dump(_Bare().visit(ast.parse(path.read_bytes()))).encode())


def _digest(content):
    digest = hashlib.sha256(importlib.metadata.version("amaranth").encode())
    for path in sorted((ROOT / "hdl").rglob("*.py")):
        digest.update(str(path.relative_to(ROOT)).encode())
        digest.update(content(path))
    return digest.hexdigest()


class _Bare(ast.NodeTransformer):
    """Leaves out statements that are a text, and those that declare a tap."""

    def visit_Expr(self, node):
        match node.value:
            case ast.Constant(value=str()) | ast.Call(func=ast.Name(id="tap" | "tap_frame")):
                return None
        return node


def verilog_of(config, *, simulation=True, taps=False):
    """Path of the Verilog for `config`, generated unless it is there already."""
    key = hashlib.sha256(f"{sources_digest()} {config!r} {simulation} {taps}".encode()).hexdigest()[:16]
    directory = BUILD / "verilog" / f"{config.name}{'' if simulation else '-fpga'}{'-taps' if taps else ''}-{key}"
    path = directory / f"{TOP}.v"
    directory.parent.mkdir(parents=True, exist_ok=True)
    with open(Path(f"{directory}.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            generate(config, directory, simulation=simulation, taps=taps)
    return path
