"""make regress: every system test over the configuration matrix, in parallel.

Each test runs in the circumstances that `matrix` gives it; those that occur are printed. Results go to
build/regress-<simulator>.xml (JUnit) and to a table.
"""

import argparse
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from xml.etree import ElementTree

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from testbench.system.catalogue import cases, run_case

from .matrix import ICARUS_SMOKE, matrix_of_test
from .simulators import BUILD, SimulatorError, icarus_path, verilator_path

__all__ = ["main", "plan"]


def plan(simulator, seed=1):
    """[(module, test, circumstances)] of a regression."""
    jobs = []
    able = [item for item in cases().items() if simulator in item[1].simulators]
    for number, ((module, name), case) in enumerate(able, seed - 1):
        possible = matrix_of_test(simulator, number, presets=case.presets, width=case.width)
        jobs += [(module, name, where) for where in (possible[:1] if case.once else possible)]
        if simulator == "icarus" and "default" in case.icarus:
            jobs.append((module, name, ICARUS_SMOKE))
    return jobs


def _run(job, simulator, seed):
    module, name, where = job
    started = time.perf_counter()
    try:
        outcome = run_case(module, name, preset=where.preset, width=where.width, link=where.link,
                           profile=where.profile, simulator=simulator, seed=seed, optimise=True,
                           directory=BUILD / "regress" / simulator / f"{name}-{str(where).replace('/', '-')}")
        problem = None if outcome.ok else f"{outcome.summary()} (log: {outcome.log})"
    except SimulatorError as error:
        problem = str(error)
    return job, problem, time.perf_counter() - started


def _junit(path, results):
    suite = ElementTree.Element("testsuite", name="regress", tests=str(len(results)),
                                failures=str(sum(bool(problem) for _, problem, _ in results)))
    for (module, name, where), problem, seconds in results:
        case = ElementTree.SubElement(suite, "testcase", classname=module, name=f"{name}[{where}]",
                                      time=f"{seconds:.2f}")
        if problem:
            ElementTree.SubElement(case, "failure", message=problem)
    ElementTree.ElementTree(suite).write(path, encoding="utf-8", xml_declaration=True)


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="regress", description=__doc__.splitlines()[0])
    parser.add_argument("--simulator", default="verilator")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--match", default="", help="only tests whose name contains this")
    options = parser.parse_args(arguments)
    try:
        {"verilator": verilator_path, "icarus": icarus_path}[options.simulator]()
    except KeyError:
        print(f"regress: unknown simulator {options.simulator!r}; there are: verilator, icarus", file=sys.stderr)
        return 2
    except SimulatorError as error:
        print(f"regress: {error}", file=sys.stderr)
        return 2
    jobs = [job for job in plan(options.simulator, options.seed) if options.match in job[1]]
    if not jobs:
        print(f"regress: no test matches {options.match!r}", file=sys.stderr)
        return 2
    console = Console(width=120)
    console.print(f"matrix of {options.simulator}: {', '.join(dict.fromkeys(str(job[2]) for job in jobs))}",
                  highlight=False)
    results = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress, ProcessPoolExecutor(options.jobs) as pool:
        task = progress.add_task(f"regress {options.simulator}, seed {options.seed}", total=len(jobs))
        for future in as_completed([pool.submit(_run, job, options.simulator, options.seed) for job in jobs]):
            results.append(future.result())
            progress.advance(task)
            (_, name, where), problem, _ = results[-1]
            if problem:
                progress.console.print(f"[red]FAILED[/] {name} in {where}: {problem}", highlight=False)
    results.sort(key=lambda result: (result[0][0], result[0][1], str(result[0][2])))
    BUILD.mkdir(exist_ok=True)
    _junit(BUILD / f"regress-{options.simulator}.xml", results)
    table = Table("test", "runs", "failed", "seconds")
    for name in dict.fromkeys(job[1] for job, _, _ in results):
        mine = [result for result in results if result[0][1] == name]
        table.add_row(name, str(len(mine)), str(sum(bool(p) for _, p, _ in mine)), f"{sum(s for *_, s in mine):.1f}")
    console.print(table)
    failed = sum(bool(problem) for _, problem, _ in results)
    print(f"regress: {len(results) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
