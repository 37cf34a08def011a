"""Configuration and shell → Verilog and a JSON manifest.

    python -m hdl.generate --config tiny --set pairs=2 --out build/rtl

writes `virtio_net_nic.v` and `virtio_net_nic.json`. Exit status 2, and nothing written, on a bad parameter.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from unittest import mock

from amaranth._toolchain.yosys import find_yosys
from amaranth.back import rtlil

from .config import PRESETS, ConfigError, NicConfig
from .manifest import manifest_of
from .shim.generic import GenericShell

__all__ = ["TOP", "configuration", "generate", "main"]


TOP = "virtio_net_nic"


def configuration(preset, settings=()):
    """`NicConfig` from a preset's name and "key=value" strings. Raises `ConfigError`."""
    config = NicConfig.preset(preset)
    known = {name: default for name, default, _ in NicConfig.parameters()}
    changes = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or key not in known or key == "name":
            raise ConfigError(f"unknown parameter {setting!r}; there are: "
                              f"{', '.join(name for name in known if name != 'name')}")
        try:
            changes[key] = int(value, 0)
        except ValueError:
            raise ConfigError(f"parameter {key} must be an integer, not {value!r}") from None
    if changes:
        changes["name"] = config.name + "".join(f"-{key}{value}" for key, value in sorted(changes.items()))
    return config.with_(**changes)


def source_revision():
    """Commit of the sources, marked when they were changed since; 'unknown' outside a checkout."""
    try:
        out = subprocess.run(["git", "describe", "--always", "--dirty", "--abbrev=12"], capture_output=True, text=True,
                             cwd=Path(__file__).parent, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return out.stdout.strip() or "unknown"


def generate(config, directory, *, simulation=False, taps=False):
    """Write Verilog and manifest into `directory`; returns the path of the Verilog.

    With `simulation` the top level has the additional `sim_` ports that benches read, with `taps` those of the event
    taps, which the manifest then describes.
    """
    shell = GenericShell(config, simulation=simulation, taps=taps)
    text = _verilog(shell)
    manifest = {"top": TOP, "revision": source_revision(), "parameters": asdict(config), **manifest_of(config, shell)}
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    _write(directory / f"{TOP}.json", json.dumps(manifest, indent=1) + "\n")
    return _write(directory / f"{TOP}.v", text)


def _verilog(shell):
    """Verilog of the shell, without processes for combinational logic.

    Amaranth's own back end writes those as `always @*` blocks, which Icarus leaves unevaluated until an input changes:
    what depends on constants alone, or on registers that keep their initial value, would be unknown.
    """
    # Amaranth drops the leading zeros of operands, and so does Yosys' optimiser. Lint takes operands of unequal widths
    # for mistakes, so Amaranth is kept from it and the optimiser is left out.
    with mock.patch.object(rtlil.ModuleEmitter, "shorten_operand", lambda emitter, value, *, signed: value):
        source = rtlil.convert(shell, name=TOP, emit_src=False)
    script = [
        f"read_rtlil <<rtlil\n{source}\nrtlil",
        "proc -norom -noopt", "memory_collect",
        "attrmap -remove generator -remove top -remove src -remove amaranth.hierarchy -remove amaranth.decoding",
        "write_verilog -norename -noattr",
    ]
    yosys = find_yosys(lambda version: version >= (0, 40))
    text = yosys.run(["-q", "-"], "\n".join(script), ignore_warnings=True)
    return _one_hot_cases(_plain_names(_without_empty_wires(text)))


def _without_empty_wires(text):
    """Fields of no bits come as wires of which nothing is connected; `[-1:0]` would be two bits."""
    return re.sub(r"(?m)^  wire \[-1:0\] .*;\n", "", text)


def _plain_names(text):
    """A name that begins with $ is nobody's, and to some tools a system function."""
    def plain(match):
        return f"{'mux' if match[1] else 'n'}_{match[2]}{match[3] or ''} "
    return re.sub(r"\\\$(procmux\$)?(\d+)(_\w+)? ", plain, text)


def _one_hot_cases(text):
    """The idiom for multiplexers whose selects exclude each other, in place of patterns that overlap when taken by
    themselves: `case (1'b1) s[0]: ...` for `casez (s) 2'b?1: ...`."""
    def item(match):
        return f"{match[1]}s[{len(match[2]) - 1 - match[2].index('1')}]:"

    def case(match):
        return re.sub(r"(?m)^( +)\d+'b([?1]+):", item, match[0].replace("casez (s)", "case (1'b1)", 1))
    return re.sub(r"(?ms)^ +casez \(s\).*?^ +endcase$", case, text)


def _write(path, text):
    """Write a file whole or not at all."""
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
        file.write(text)
    os.chmod(file.name, 0o644)
    os.replace(file.name, path)
    return path


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="generate", description="Write the card's Verilog and manifest.")
    parser.add_argument("--config", default="default", help=f"preset: {', '.join(PRESETS)}")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change a parameter")
    parser.add_argument("--out", default="build/rtl", help="folder to write to")
    parser.add_argument("--simulation", action="store_true", help="add the sim_ ports that benches read")
    options = parser.parse_args(arguments)
    try:
        path = generate(configuration(options.config, options.set), options.out, simulation=options.simulation)
    except ConfigError as error:
        print(f"generate: {error}", file=sys.stderr)
        return 2
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
