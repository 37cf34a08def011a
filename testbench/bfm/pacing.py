"""One direction of a link: when a TLP gets its turn, and the assertion that nothing exceeds what the wire carries."""

__all__ = ["LinkBudgetError", "Meter", "Pace"]


class LinkBudgetError(AssertionError):
    """More bytes passed in some span of time than the link can carry."""


class Pace:
    """Gives TLPs their turn at the link's rate, one after the other; times are cycles, with fractions."""

    def __init__(self, bytes_per_cycle):
        self.bytes_per_cycle = bytes_per_cycle
        self.free = 0.0

    def begin(self, earliest, size):
        """Cycle at which a TLP of `size` bytes starts, `earliest` at the earliest; `free` is then its end."""
        start = max(earliest, self.free)
        self.free = start + size / self.bytes_per_cycle
        return start


class Meter:
    """Asserts that in no span of time more than rate × span + `slack` bytes pass (a leaky bucket: every span at once).

    `slack` is what buffers beside the link may hold: they pass it on faster than the link brought it.
    """

    def __init__(self, name, bytes_per_cycle, slack):
        self.name = name
        self.bytes_per_cycle = bytes_per_cycle
        self.slack = slack
        self._level = 0.0
        self._last = 0.0

    def pass_(self, cycle, size):
        self._level = max(0.0, self._level - (cycle - self._last) * self.bytes_per_cycle) + size
        self._last = cycle
        if self._level > self.slack:
            raise LinkBudgetError(f"{self.name} at cycle {cycle:g}: {self._level - self.slack:.0f} bytes more than the "
                                  f"link carries at {self.bytes_per_cycle:.3f} bytes a cycle and {self.slack} buffered")
