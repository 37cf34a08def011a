"""Every system test there is, and how to run one of them on one build."""

import importlib
import json
from pathlib import Path

from hdl.config import ConfigError
from hdl.generate import configuration
from sim.rtl import TOP, verilog_of
from sim.simulators import build, run

__all__ = ["cases", "find_case", "run_case"]


def cases():
    """{(module, test name): Case} of every `bench_*.py` beside this file."""
    found = {}
    for path in sorted(Path(__file__).parent.glob("bench_*.py")):
        module = f"testbench.system.{path.stem}"
        for name, value in vars(importlib.import_module(module)).items():
            case = getattr(value, "case", None)
            if case is not None:
                found[module, name] = case
    return found


def find_case(name):
    """(module, `Case`) of a test. Raises `ConfigError` that lists what there is."""
    known = {test: (module, case) for (module, test), case in cases().items()}
    if name not in known:
        raise ConfigError(f"unknown test {name!r}; there are: {', '.join(sorted(known))}" if name else
                          f"say which test, TEST=...; there are: {', '.join(sorted(known))}")
    return known[name]


def run_case(module, name, *, preset, simulator, link="gen3x8", profile="e5-warm", seed=1, width=None, waves=None,
             directory=None, extra=None, optimise=False):
    """Run one system test; returns its `Outcome`. `optimise`: many will run on a build of a wide card."""
    changes = {"pairs": 4} if cases()[module, name].several_pairs and preset == "tiny" else {}
    if width:
        changes["width"] = width
    config = configuration(preset, [f"{key}={value}" for key, value in changes.items()])
    verilog = verilog_of(config, taps="taps" in (extra or {}))
    built = build(simulator, TOP, [verilog], label=config.name, waves=bool(waves),
                  optimise=optimise and simulator == "verilator" and config.width > 128)
    settings = {"preset": preset, "manifest": str(verilog.with_suffix(".json")), "link": link, "profile": profile,
                "seed": seed, "simulator": simulator, **(extra or {})}
    return run(built, module, tests=[name], environment={"NIC_RUN": json.dumps(settings)}, seed=seed, waves=waves,
               directory=directory)
