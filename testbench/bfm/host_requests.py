"""Non-posted requests of the host: 32 tags, and which completions belong to what."""

from collections import deque

from testbench.bfm.host_rules import ProtocolError
from testbench.bfm.tlp import Kind, Status

__all__ = ["TAGS", "Requester"]

TAGS = 32           # what the function must be able to take while its completions stand still


class _Pending:
    __slots__ = ("completions", "done", "received", "request")

    def __init__(self, request, done):
        self.request = request
        self.done = done
        self.completions = []
        self.received = 0


class Requester:
    """Gives tags to requests, matches completions with them, and checks these.

    Parameters
    ----------
    send : callable (cycle, tlp)
    rules : Rules
    """

    def __init__(self, send, rules):
        self._send = send
        self._rules = rules
        self._pending = {}
        self._free_tags = deque(range(TAGS))
        self._waiting = deque()     # (function that makes the TLP of a tag, done)

    @property
    def outstanding(self):
        return len(self._pending) + len(self._waiting)

    def request(self, cycle, make, done):
        """Send `make(tag)` as soon as a tag is free; `done(completions)` is called once. Later ones queue behind."""
        if not self._free_tags:
            self._waiting.append((make, done))
            return
        tag = self._free_tags.popleft()
        tlp = make(tag)
        self._pending[tag] = _Pending(tlp, done)
        self._send(cycle, tlp)

    def complete(self, cycle, tlp):
        pending = self._pending.get(tlp.tag)
        if pending is None:
            raise ProtocolError(f"completion of a request that is not outstanding: {tlp}")
        self._rules.check_completion(tlp, pending.request, pending.received)
        pending.completions.append(tlp)
        if pending.request.kind is Kind.MEMORY_READ and tlp.status == Status.SUCCESS:
            useful = len(tlp.payload) - (tlp.lower_address & 3)
            pending.received += useful
            if useful < tlp.byte_count:
                return
        del self._pending[tlp.tag]
        self._free_tags.append(tlp.tag)
        if self._waiting:
            self.request(cycle, *self._waiting.popleft())
        pending.done(pending.completions)

    def forget(self):
        """Drop every request, as after a reset of the function; what they wait for is told an empty list."""
        pending = [*self._pending.values()]
        self._pending.clear()
        self._free_tags = deque(range(TAGS))
        for entry in pending:
            entry.done([])
