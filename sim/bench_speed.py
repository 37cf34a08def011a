"""How fast the testbench is, against the same build with the same traffic and no Python, and what event taps cost: the
figures of `make bench`."""

from .reference import build_reference, run_reference

__all__ = ["SATURATED", "measure_speed", "print_speed"]

SATURATED = {"group": "sizes", "direction": "both"}
RUNS = 3        # of each, in turn; the fastest counts, since others use the machine too


def measure_speed(run, built, record, *, run_tapped=None):
    """Cycles per second of CPU time with and without the testbench, over the same window.

    run : callable that runs the saturated row with further job settings, and returns its result
    built : Build of that row
    record : Path for what passes the ports
    run_tapped : callable that runs the same row on a card whose event taps are recorded
    """
    run({"record": str(record)})
    program = build_reference(built)
    ours, alone, tapped = [], [], []
    for _ in range(RUNS):
        result = run({})
        ours.append(result["cpu_seconds"])
        alone.append(run_reference(program, record))
        if run_tapped:
            tapped.append(run_tapped()["cpu_seconds"])
    cycles = result["cycles"]
    found = {"cycles": cycles, "testbench_hz": cycles / min(ours), "reference_hz": cycles / min(alone),
             "ratio": min(alone) / min(ours)}
    if tapped:
        found |= {"tapped_hz": cycles / min(tapped), "slower_with_taps": min(tapped) / min(ours) - 1}
    return found


def print_speed(console, speed):
    ours, alone = speed["testbench_hz"] / 1e3, speed["reference_hz"] / 1e3
    console.print(f"simulation at saturation, cycles per second of CPU time: {ours:.0f} k with the testbench, "
                  f"{alone:.0f} k for the same build and traffic without it; ratio {speed['ratio']:.2f}",
                  highlight=False)
    if "tapped_hz" in speed:
        console.print(f"with the card's event taps recorded, as make timeline does: {speed['tapped_hz'] / 1e3:.0f} k, "
                      f"{speed['slower_with_taps']:.1%} slower", highlight=False)
