"""make sweep: one parameter or many, over the performance model or the RTL; a table and pictures.

On one machine it uses all cores; with --scheduler it runs on the workers of a Dask cluster. Every point that is done is
kept at once, so that a sweep that was interrupted goes on where it was left.
"""

import argparse
import csv
import hashlib
import json
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures import as_completed as local_completed
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.progress import track

from model.perf import CONSTANTS

from .simulators import BUILD, SimulatorError
from .sweep_plot import plot_sweep
from .sweep_points import FIGURES, evaluate, setting_of_point
from .sweep_spec import SpecError, read_spec

__all__ = ["Store", "main", "run_sweep"]

PART = 32           # points in one piece of work; of the RTL one
PATIENCE = "20s"    # for a scheduler to answer
RETRIES = 10        # of a part whose worker died


class Store:
    """The rows of a sweep, one line of JSON each, by the point's number: written at once, read again by the next run.

    Parameters
    ----------
    directory : Path
        a sweep's own, made if need be
    sweep : Sweep

    Attributes
    ----------
    rows : dict of number → row
    """

    def __init__(self, directory, sweep):
        text = json.dumps([asdict(sweep), CONSTANTS.read_text()], sort_keys=True)
        self.directory = Path(directory)
        self._path = self.directory / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.jsonl"
        self.rows = {}
        if self._path.exists():
            self._read(len(sweep.points))

    def _read(self, count):
        for line in self._path.read_text().splitlines():
            try:
                entry = json.loads(line)
                number, row = entry["point"], entry["row"]
            except (json.JSONDecodeError, KeyError, TypeError):
                continue        # the last line of a run that was killed
            if 0 <= number < count:
                self.rows.setdefault(number, row)

    def add(self, numbers, rows):
        """Keep what isn't known yet."""
        self.directory.mkdir(parents=True, exist_ok=True)
        with open(self._path, "a") as file:
            for number, row in zip(numbers, rows):
                if number not in self.rows:
                    self.rows[number] = row
                    file.write("\n" + json.dumps({"point": number, "row": row}))


def parts_of(sweep, known):
    """Lists of the numbers of points that are still to be worked out."""
    left = [number for number in range(len(sweep.points)) if number not in known]
    size = 1 if sweep.engine == "rtl" else PART
    return [left[at:at + size] for at in range(0, len(left), size)]


def run_sweep(sweep, store, *, jobs=None, scheduler=None, console=None):
    """Work out what `store` doesn't know. Raises `ConnectionError` if the scheduler can't be reached."""
    parts = parts_of(sweep, store.rows)
    if not parts:
        return
    work = _on_cluster if scheduler else _on_this_machine
    finished = work(sweep, parts, scheduler or jobs or os.cpu_count() or 1)
    for numbers, rows in track(finished, "sweep", total=len(parts), console=console):
        store.add(numbers, rows)


def _task(sweep, numbers):
    return sweep.engine, sweep.packets, [sweep.points[number] for number in numbers]


def _on_this_machine(sweep, parts, jobs):
    with ProcessPoolExecutor(min(jobs, len(parts))) as pool:
        futures = {pool.submit(evaluate, *_task(sweep, numbers)): numbers for numbers in parts}
        try:
            for future in local_completed(futures):
                yield futures[future], future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _on_cluster(sweep, parts, address):
    from distributed import Client, as_completed
    try:
        client = Client(address, timeout=PATIENCE, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ConnectionError(f"no scheduler at {address}: {str(error).splitlines()[0] if str(error) else 'timeout'}"
                              ) from None
    with client:
        futures = {client.submit(evaluate, *_task(sweep, numbers), pure=False, retries=RETRIES): numbers
                   for numbers in parts}
        for future, rows in as_completed(futures, loop=client.loop, with_results=True):
            yield futures[future], rows


def write_table(path, sweep, rows):
    """All points and their figures as CSV, whole or not at all."""
    parameters = list(sweep.points[0])
    new = path.with_suffix(".new")
    with open(new, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*parameters, *FIGURES])
        for number, point in enumerate(sweep.points):
            row = rows[number]
            writer.writerow([*point.values(), *(_shown(row.get(name, "")) for name in FIGURES)])
    new.replace(path)


def _shown(value):
    return f"{value:.6g}" if isinstance(value, float) else value


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="sweep", description=__doc__.splitlines()[0])
    parser.add_argument("spec", help="TOML file: see sim/sweep_spec.py")
    parser.add_argument("--jobs", type=int, default=None, help="processes, by default one per core")
    parser.add_argument("--scheduler", help="address of a Dask scheduler, e.g. tcp://host:8786")
    parser.add_argument("--out", type=Path, help="folder of the results, by default build/sweeps/NAME")
    options = parser.parse_args(arguments)
    console = Console(width=120)
    try:
        sweep = read_spec(options.spec)
        if sweep.engine == "rtl":
            for point in sweep.points:
                try:
                    setting_of_point(point)
                except SpecError as error:
                    raise SpecError(f"{options.spec}: {error}") from None
        directory = options.out or BUILD / "sweeps" / sweep.name
        store = Store(directory, sweep)
        known = len(store.rows)
        run_sweep(sweep, store, jobs=options.jobs, scheduler=options.scheduler, console=console)
    except (SpecError, ConnectionError, SimulatorError) as error:
        print(f"sweep: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("sweep: stopped; what is done is kept, the same command goes on", file=sys.stderr)
        return 130
    write_table(directory / f"{sweep.name}.csv", sweep, store.rows)
    pictures = plot_sweep(sweep, store.rows, directory)
    console.print(f"{len(sweep.points)} points, {known} of them known before; written to "
                  f"{directory / sweep.name}.csv and {', '.join(path.name for path in pictures)}", highlight=False,
                  soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
