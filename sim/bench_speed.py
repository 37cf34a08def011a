"""How fast the testbench is, against the same build with the same traffic and no Python: the figure of `make bench`."""

from .reference import build_reference, run_reference

__all__ = ["SATURATED", "measure_speed", "print_speed"]

SATURATED = {"group": "sizes", "direction": "both"}
RUNS = 3        # of each, in turn; the fastest counts, since others use the machine too


def measure_speed(run, built, record):
    """Cycles per second of CPU time with and without the testbench, over the same window.

    run : callable that runs the saturated row with further job settings, and returns its result
    built : Build of that row
    record : Path for what passes the ports
    """
    run({"record": str(record)})
    program = build_reference(built)
    ours, alone = [], []
    for _ in range(RUNS):
        result = run({})
        ours.append(result["cpu_seconds"])
        alone.append(run_reference(program, record))
    cycles = result["cycles"]
    return {"cycles": cycles, "testbench_hz": cycles / min(ours), "reference_hz": cycles / min(alone),
            "ratio": min(alone) / min(ours)}


def print_speed(console, speed):
    ours, alone = speed["testbench_hz"] / 1e3, speed["reference_hz"] / 1e3
    console.print(f"simulation at saturation, cycles per second of CPU time: {ours:.0f} k with the testbench, "
                  f"{alone:.0f} k for the same build and traffic without it; ratio {speed['ratio']:.2f}",
                  highlight=False)
