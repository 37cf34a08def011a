"""How much data may be under way: `hdl.dma.read_window`."""

from .compiled import compiled
from .state import DATA_READS

__all__ = ["FREE", "LEAST", "PROBE", "SLACK", "count_came", "count_window"]

FREE, LEAST, SLACK, PROBE = 64, 8192, 128, 256
LONG = 1 << 16
SETTLED = 2         # cycles after which registers stand still if nothing comes


@compiled
def count_came(w, now, tag):
    """What `ReadWindow` learns of a read that is over."""
    window, read = w.window, w.tags[tag]
    if read.client == DATA_READS:
        window.came = max(0, read.length - FREE)
        window.trip, window.told = now - read.taken, 1


@compiled
def count_window(w, now):
    """A cycle of `ReadWindow`: how much data may be under way."""
    x = w.window
    if (x.still == SETTLED and x.left
            and not (x.came or x.asked or x.told or x.came_before or x.asked_before or x.told_before)):
        x.left -= 1
    else:
        _count(w)


@compiled
def _count(w):
    x = w.window
    if x.came or x.asked or x.told or x.came_before or x.asked_before or x.told_before or x.left == 0:
        x.still = 0
    else:
        x.still += 1
    x.open = x.under_way <= (LEAST if x.probe else x.limit)
    got, least, left, limit, following = x.got, x.least, x.left, x.limit, x.following
    # What comes in the last two cycles doesn't count.
    x.following = got if got >= limit else max(LEAST, limit - ((limit - got) >> 4))
    x.got += x.came_before
    if x.told_before and x.trip_before < x.least:
        x.least = x.trip_before
    x.left -= 1
    probing = x.number % PROBE == 0
    if left == 0:
        x.left = 2 * x.fastest + SLACK
        x.got, x.least = 0, LONG
        x.number += 1
        if not x.probe:
            x.limit = following
        if least < x.fastest or (x.probe and least < LONG):
            x.fastest = least
            x.left = 2 * least + SLACK
    x.probe = probing
    x.under_way += x.asked_before - x.came_before
    x.came_before, x.asked_before, x.trip_before, x.told_before = x.came, x.asked, x.trip, x.told
