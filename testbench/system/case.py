"""A system test: a cocotb test that says which requirements it checks and where it runs.

    @system_test("PKD-011", "PKD-026", presets=("tiny", "default"))
    async def wraps_at_odd_sizes(bench): ...

`bench` is a `Bench`: the simulated card between the host model and the MAC model. pytest collects one item for every
test, preset and simulator; the marker `requirements` comes from here.
"""

import functools
import json
import os
from dataclasses import dataclass

import cocotb

__all__ = ["Case", "system_test", "settings"]


@dataclass(frozen=True)
class Case:
    """What a system test wants.

    `long` ones run in `make regress` only, and so do most under Icarus: `make test` runs those there that name presets
    in `icarus`, with which `make regress` knows what to run at 512 bits. `width` fixes the bus width. One that wants
    `several_pairs` gets a `tiny` with 4. One of several that differ only in what they negotiate runs but `once` in a
    regression, each of them somewhere else.
    """

    name: str
    requirements: tuple
    presets: tuple
    simulators: tuple
    long: bool
    icarus: tuple
    width: int | None
    several_pairs: bool
    once: bool
    parameters: dict


def settings():
    """Circumstances of this run, from the environment: {preset, manifest, link, profile, seed, ...}."""
    return json.loads(os.environ.get("NIC_RUN", "{}"))


def system_test(*requirements, presets=("tiny",), simulators=("verilator", "icarus"), long=False, icarus=(),
                width=None, several_pairs=False, once=False, timeout_us=2000, name=None, **parameters):
    """Turn `async def test(bench)` into a cocotb test; see the module."""
    def wrap(function):
        if name:
            function.__name__ = function.__qualname__ = name

        @functools.wraps(function)
        async def body(dut):
            from .bench import Bench
            bench = Bench(dut, settings(), parameters)
            await bench.start()
            try:
                await function(bench)
                await bench.finish()
            finally:
                bench.save_events()
        body.__annotations__ = {}
        del body.__wrapped__
        test = cocotb.test(timeout_time=timeout_us, timeout_unit="us")(body)
        test.case = Case(function.__name__, requirements, tuple(presets), tuple(simulators), long,
                         tuple(icarus), width, several_pairs, once, parameters)
        return test
    return wrap
