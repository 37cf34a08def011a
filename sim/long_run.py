"""A run in the simulator that takes minutes and tells how far it is."""

import json
import threading

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from .simulators import run

__all__ = ["long_run", "progress_bar"]

LOOK_S = 0.5


def progress_bar():
    """Things done of all, and the time that it took and is going to take; a context manager."""
    return Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
                    TextColumn("left"), TimeRemainingColumn(), console=Console(width=120))


def long_run(built, module, name, settings, directory, told):
    """Run `module` on a build, in `directory`.

    Its job, `settings[name]`, is told where to write `progress`, now and then, and in the end its `result`, both as
    JSON; `told(progress)` is called from time to time.

    Returns (outcome, result or None if the run did not end well, last progress or None).
    """
    directory.mkdir(parents=True, exist_ok=True)
    result, state = directory / "result.json", directory / "progress"
    for path in (result, state):
        path.unlink(missing_ok=True)
    settings[name].update(result=str(result), progress=str(state))
    ended = threading.Event()

    def look():
        try:
            return json.loads(state.read_text())
        except (OSError, ValueError):       # not yet written, or just being written
            return None

    def watch():
        while not ended.wait(LOOK_S):
            if (found := look()) is not None:
                told(found)
    watching = threading.Thread(target=watch)
    watching.start()
    try:
        outcome = run(built, module, environment={"NIC_RUN": json.dumps(settings)}, directory=directory / "sim",
                      seed=settings["seed"])
    finally:
        ended.set()
        watching.join()
    return outcome, json.loads(result.read_text()) if outcome.ok and result.exists() else None, look()
