"""make fuzz: random frames from the wire and random chains and headers from the driver, RTL beside functional card.

A round is a simulation of its own, so that it can be repeated alone: frames and packets by turns, in several sessions,
each with a driver that negotiates and sets something else. What the card delivers, sends, drops and counts must be what
the model says, item by item.
"""

import argparse
import random
import sys
import time
from collections import Counter
from pathlib import Path

from hdl.config import ConfigError
from hdl.generate import configuration
from model.link import LINKS

from .compiled import environment_library
from .long_run import long_run, progress_bar
from .rtl import TOP, verilog_of
from .simulators import BUILD, SimulatorError, build, check_simulator

__all__ = ["fuzz", "main", "rounds_of"]

COUNT = 20_000
ROUND = 1000            # frames, and packets, of a round, at most
SESSIONS = 8            # of a round, in each direction, at most
SESSION = 25            # frames, or packets, of a session, at least
LATENCIES = ("e5-warm", "e5-dram", "e5-remote", "iommu-4k", "2us", "zero")      # none that makes frames lose patience
ITEMS = {"receive": "frame", "transmit": "packet"}


def rounds_of(count):
    """How many rounds `count` frames and as many packets make."""
    return -(-count // ROUND)


def fuzz(count, *, seed=1, only=None, flip=None, directory=None, progress=lambda count: None):
    """Run `count` frames and `count` packets, or of these round `only`; returns a Counter of what became of them.

    flip : {"receive" or "transmit": number}, items of each round of which something else is expected, to see that
        noticed
    progress : told from time to time how many frames and packets are done

    Raises `SimulatorError`, and `AssertionError` for what the run found wrong.
    """
    check_simulator("verilator")
    directory = Path(directory or BUILD / "fuzz")
    config = configuration("tiny", ["pairs=4"])
    verilog = verilog_of(config)
    built = build("verilator", TOP, [verilog], label=config.name)
    library = str(environment_library("verilator"))
    total = Counter()
    for number in range(rounds_of(count)) if only is None else [only]:
        rng, items = random.Random(f"{seed} {number}"), min(ROUND, count - number * ROUND)
        settings = {
            "link": rng.choice(LINKS), "profile": rng.choice(LATENCIES), "seed": seed * 10_000 + number,
            "manifest": str(verilog.with_suffix(".json")), "compiled": library,
            "fuzz": {"seed": seed, "round": number, "sessions": max(1, min(SESSIONS, items // SESSION)),
                     "flip": flip or {}, **{part: items for part in ITEMS}}}
        done = sum(total[part] for part in ITEMS)
        result = _round(built, settings, directory, lambda count, done=done: progress(done + count))
        total.update({**{part: result[part] for part in ITEMS}, **result["tally"], "ns": round(result["ns"])})
    return total


def _round(built, settings, directory, progress):
    """Run one round; returns its result. Raises `AssertionError`."""
    outcome, result, found = long_run(built, "testbench.system.job_fuzz", "fuzz", settings, directory,
                                      lambda found: progress(sum(found[part] for part in ITEMS)))
    if result is not None:
        return result
    where = f" ({ITEMS[found['at']]}s from {found[found['at']]} on)" if found else ""
    raise AssertionError(f"round {settings['fuzz']['round']}{where}: {outcome.summary()} (log: {outcome.log})")


def _summary(result):
    prefix = "receive.drop."
    dropped = ", ".join(f"{count} {name.removeprefix(prefix)}" for name, count in sorted(result.items())
                        if name.startswith(prefix))
    return (f"card and model agree on {result['receive']} frames from the wire ({result['receive.frames']} delivered; "
            f"dropped: {dropped}) and on {result['transmit']} packets from the driver ({result['transmit.frames']} "
            f"frames sent, {result['transmit.drop.malformed']} dropped, {result['resets needed']} resets needed); "
            f"{result['ns'] / 1e6:.1f} ms of simulated time")


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=COUNT, help="of frames, and of packets")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--round", type=int, help="only this one, as it is among --count with --seed")
    options = parser.parse_args(arguments)
    started = time.perf_counter()
    try:
        if options.count < 1:
            raise ConfigError(f"N must be at least 1, not {options.count}")
        if options.seed < 0:
            raise ConfigError(f"SEED must be at least 0, not {options.seed}")
        rounds = rounds_of(options.count)
        if options.round is not None and not 0 <= options.round < rounds:
            raise ConfigError(f"N={options.count} makes rounds 0 to {rounds - 1}, there is no round {options.round}")
        total = options.count if options.round is None else min(ROUND, options.count - options.round * ROUND)
        print("fuzz: simulation of 'tiny-pairs4' (minutes the first time, then cached)", flush=True)
        with progress_bar() as progress:
            task = progress.add_task(f"seed {options.seed}", total=2 * total)
            result = fuzz(options.count, seed=options.seed, only=options.round,
                          progress=lambda count: progress.update(task, completed=count))
            progress.update(task, completed=2 * total)
    except (ConfigError, SimulatorError) as error:
        print(f"fuzz: {error}", file=sys.stderr)
        return 2
    except AssertionError as error:
        print(f"fuzz: FAILED with seed {options.seed}, N={options.count}, {error}", file=sys.stderr)
        return 1
    print(f"fuzz: {_summary(result)}, {time.perf_counter() - started:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
