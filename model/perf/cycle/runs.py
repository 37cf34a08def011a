"""Queues of queue numbers in which each stands at most once: `hdl.virtqueue.run_queue`."""

from .compiled import compiled
from .fifo import drop, first, put, ready

__all__ = ["enter", "pop", "pulse", "push"]


@compiled
def pulse(pulses, cycle, q):
    """Queue `q` is to be remembered, from `cycle` on."""
    row = put(pulses)
    pulses.rows[row, 0], pulses.rows[row, 1] = cycle, q


@compiled
def enter(pulses, run, waits, now):
    """What is told of in this cycle is offered from the next one on. After whoever takes: it may enter again."""
    while ready(pulses, now):
        push(run, waits, int(pulses.rows[first(pulses), 1]), now + 1)
        drop(pulses)


@compiled
def push(run, waits, q, cycle):
    """Queue `q` is offered from `cycle` on, unless it stands there."""
    if not waits[q]:
        waits[q] = 1
        row = put(run)
        run.rows[row, 0], run.rows[row, 1] = cycle, q


@compiled
def pop(run, waits):
    """The first queue out of a run queue."""
    q = int(run.rows[first(run), 1])
    waits[q] = 0
    drop(run)
    return q
