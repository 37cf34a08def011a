"""make soak: very many packets both ways, with a driver that sleeps and wakes at random.

Interrupts, EVENT_IDX or ENABLE and DISABLE, coalescing with changing parameters, one to several queue pairs, frames of
all lengths. Nothing is waited for with a time-out, so an interrupt or a doorbell that gets lost makes the run stand
still, which is noticed and reported.
"""

import argparse
import sys
import time
from pathlib import Path

from hdl.config import ConfigError
from hdl.generate import configuration

from .compiled import environment_library
from .long_run import long_run, progress_bar
from .rtl import TOP, verilog_of
from .simulators import BUILD, SimulatorError, build, check_simulator

__all__ = ["main", "soak"]

PACKETS = 200_000
ROUND = 5000        # packets of a round, at most
MOST_BRIEF = 20_000     # packets that are through before an optimised build is
LEAST_ROUNDS = 8    # so that each set of features comes up


def soak(config, packets, *, seed=1, link="gen3x8", profile="e5-warm", directory=None, progress=lambda count: None):
    """Run the soak; returns its result, a dict: see testbench/system/job_soak.py. `progress` is told from time to time
    how many packets are delivered. Raises `SimulatorError`, and `AssertionError` for what the run found wrong."""
    check_simulator("verilator")
    directory = Path(directory or BUILD / "soak")
    verilog = verilog_of(config)
    built = build("verilator", TOP, [verilog], label=config.name, optimise=packets > MOST_BRIEF)
    settings = {"manifest": str(verilog.with_suffix(".json")), "link": link, "profile": profile, "seed": seed,
                "compiled": str(environment_library("verilator")),
                "soak": {"packets": packets, "rounds": max(LEAST_ROUNDS, -(-packets // ROUND))}}
    outcome, result, _ = long_run(built, "testbench.system.job_soak", "soak", settings, directory, progress)
    if result is None:
        raise AssertionError(f"{outcome.summary()} (log: {outcome.log})")
    return result


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="soak", description=__doc__.splitlines()[0])
    parser.add_argument("--packets", type=int, default=PACKETS)
    parser.add_argument("--config", default="default", help="preset")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    started = time.perf_counter()
    try:
        if options.packets < 1:
            raise ConfigError(f"packets must be at least 1, not {options.packets}")
        config = configuration(options.config, [])
        print(f"soak: simulation of {config.name!r} (minutes the first time, then cached)", flush=True)
        with progress_bar() as progress:
            task = progress.add_task(f"seed {options.seed}", total=options.packets)
            result = soak(config, options.packets, seed=options.seed,
                          progress=lambda count: progress.update(task, completed=count))
            progress.update(task, completed=result["delivered"])
    except (ConfigError, SimulatorError) as error:
        print(f"soak: {error}", file=sys.stderr)
        return 2
    except AssertionError as error:
        print(f"soak: FAILED with seed {options.seed}: {error}", file=sys.stderr)
        return 1
    counts = result["statistics"]
    print(f"soak: {result['delivered']} packets delivered in {len(result['rounds'])} rounds, "
          f"{result['ns'] / 1e6:.1f} ms of simulated time, {time.perf_counter() - started:.0f} s; the driver slept "
          f"{counts['waits']} times until an interrupt and took {counts['naps']} naps; {counts['interrupts']} "
          f"interrupts, {counts['doorbells']} doorbells, {counts['doorbells_saved']} saved")
    return 0


if __name__ == "__main__":
    sys.exit(main())
