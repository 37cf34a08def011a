"""The host at the ports `cq`, `cc`, `rq` and `rc`: what a driver calls, and the streams of `HostCore`."""

from cocotb.triggers import Event, SimTimeoutError, Timer, with_timeout

from testbench.bfm.host_config import ConfigWatch
from testbench.bfm.host_core import HostCore
from testbench.bfm.loop import THINK
from testbench.bfm.streams import TlpSink, TlpSource
from testbench.bfm.tlp import (
    Kind,
    MessageCode,
    Status,
    config_read,
    config_write,
    memory_read,
    memory_write,
    message,
)

__all__ = ["Host", "RequestFailed"]

REQUESTER = 0x0008          # of the host's own requests
QUEUE = 64                  # posted requests that may wait before `mmio_write` does
ERRORS = {MessageCode.ERR_COR, MessageCode.ERR_NONFATAL, MessageCode.ERR_FATAL}


class RequestFailed(Exception):
    """A non-posted request was completed with an error (`status`), or not at all (`status` is None)."""

    def __init__(self, status, request):
        self.status = status
        self.request = request
        super().__init__(f"{'no completion' if status is None else Status(status).name} for {request}")


class Host:
    """
    Parameters
    ----------
    entity, clock, loop
    memory : model.memory.HostMemory
    function : int
        bus, device and function under which the card is configured
    options
        those of `HostCore`: link, profile, rcb64, seed

    Attributes
    ----------
    core : HostCore
        whose `rules`, `statistics` and `inject` are the host's as well
    config : ConfigWatch
    rq, cc, cq, rc
        the sinks and sources, for back-pressure and gaps
    intx : bool
        level of INTA, from the device's messages
    errors : list of MessageCode
        error messages received
    on_intx, on_error, on_message : lists of callables
        called with the level of INTA, the code of an error message, and every message TLP
    timeout_ns : float
        after which a non-posted request fails
    """

    def __init__(self, entity, clock, loop, memory, *, function=0x3b00, **options):
        self.loop = loop
        self.memory = memory
        self.function = function
        self._surround(entity, clock, options)
        self.rules = self.core.rules
        self.statistics = self.core.statistics
        self.inject = self.core.inject
        self.config = ConfigWatch(self.rules, function)
        self.timeout_ns = 100_000
        self.intx = False
        self.errors = []
        self.on_intx = []
        self.on_error = []
        self.on_message = self.core.on_message
        self.on_message.append(self._message)

    def _surround(self, entity, clock, options):
        """Set up `core` and the streams."""
        loop = self.loop
        self.core = core = HostCore(self.memory, cycle_ns=loop.period_ns, **options)
        self.rq = TlpSink(entity, "rq", clock, loop, callback=lambda tlp: core.rq(loop.cycle, tlp))
        self.cc = TlpSink(entity, "cc", clock, loop, callback=lambda tlp: core.cc(loop.cycle, tlp))
        self.cq = TlpSource(entity, "cq", clock, loop, supply=lambda cycle: core.take_cq(), on_sent=core.sent)
        self.rc = TlpSource(entity, "rc", clock, loop, supply=lambda cycle: core.take_rc(), on_sent=core.sent)
        self._np_handle = entity.rq_np_ready
        self._np_handle.value = self._np_driven = 0
        loop.add(THINK, self._tick, quiet=self._quiet)

    # What a driver calls

    async def config_read(self, offset, size=4):
        """Value of `size` bytes at `offset` of configuration space; they must lie within one DW."""
        reply, = await self.request(lambda tag: config_read(self.function, offset, size, tag, REQUESTER))
        return int.from_bytes(reply.payload[offset & 3:(offset & 3) + size], "little")

    async def config_write(self, offset, value, size=4):
        """Write configuration space; returns when the function has completed it, and so has learnt its number.

        `rules` follow what is written. To know where Device Control is, the first write beyond the header is preceded
        by reads of the capability list.
        """
        if offset >= 0x40 and self.config.express is None:
            await self.config.find_express(self.config_read)
        data = value.to_bytes(size, "little")
        self.config.sent(offset, data)
        await self.request(lambda tag: config_write(self.function, offset, data, tag, REQUESTER))
        while self.config.stops_requests and self.rq.busy:
            # What had begun on `rq` when the function took the write still comes, however late the link takes it.
            await Timer(self.loop.period_ns, "ns")
        if self.config.completed():
            self.core.forget_lost_tags()

    async def mmio_read(self, address, size=4):
        """Value of `size` bytes at a memory address of the device."""
        replies = await self.request(lambda tag: memory_read(address, size, tag, REQUESTER))
        data = b"".join(reply.payload for reply in replies)
        return int.from_bytes(data[address & 3:(address & 3) + size], "little")

    async def mmio_write(self, address, value, size=4):
        """Posted write, one TLP; returns at once unless many are waiting already."""
        while len(self.core.requests) >= QUEUE:
            await Timer(4 * self.loop.period_ns, "ns")
        self.post(memory_write(address, value.to_bytes(size, "little"), REQUESTER))

    def message(self, code, *, routing=0b011, words=(0, 0), payload=b""):
        """Send a message, by default a broadcast such as PME_Turn_Off."""
        self.post(message(code, routing=routing, requester=REQUESTER, words=words, payload=payload))

    def post(self, tlp):
        """Send any posted TLP."""
        self.core.post(self.loop.cycle, tlp)
        self.loop.wake()

    async def request(self, make):
        """Send the non-posted TLP `make(tag)`; its completions. Raises `RequestFailed` unless all are successful."""
        completions = await self.complete(make)
        for reply in completions:
            if reply.status != Status.SUCCESS:
                raise RequestFailed(reply.status, make(0))
        return completions

    async def complete(self, make):
        """As `request`, but takes completions as they are, successful or not."""
        done = Event()
        result = []

        def finish(completions):
            result.extend(completions)
            done.set()
        self.core.request(self.loop.cycle, make, finish)
        self.loop.wake()
        try:
            await with_timeout(done.wait(), self.timeout_ns, "ns")
        except SimTimeoutError:
            pass
        if not result:
            raise RequestFailed(None, make(0))
        return result

    def hold_reads(self, held):
        """For tests: 0 on `rq_np_ready` as long as `held`, while posted requests go on."""
        self.core.np_hold = held
        self.loop.wake()

    def send_completion(self, tlp):
        """Send a completion that the device has not asked for."""
        self.core.send_completion(self.loop.cycle, tlp)
        self.loop.wake()

    async def idle(self):
        """Wait until no request of either side is outstanding and nothing is on the link."""
        while not (self.core.idle and self.cq.idle and self.rc.idle):
            await Timer(8 * self.loop.period_ns, "ns")

    def clear(self):
        """As in a conventional reset: everything under way is gone, and the function must be configured anew."""
        self.core.reset(self.loop.cycle)
        self.config.reset()
        for stream in (self.rq, self.cc, self.cq, self.rc):
            stream.clear()
        self.intx = False

    # The streams

    def _tick(self, cycle):
        core = self.core
        core.advance(cycle)
        self.rq.open = self.cc.open = core.rq_ready(cycle)
        np_ready = core.rq_np_ready(cycle)
        if np_ready != self._np_driven:
            self._np_driven = np_ready
            self._np_handle.value = int(np_ready)

    def _quiet(self):
        return self.core.next_time() if self.rq.open and (self._np_driven or self.core.np_hold) else 0

    def _message(self, tlp):
        assert tlp.kind is Kind.MESSAGE
        if tlp.code in (MessageCode.ASSERT_INTA, MessageCode.DEASSERT_INTA):
            self.intx = tlp.code == MessageCode.ASSERT_INTA
            for callback in list(self.on_intx):
                callback(self.intx)
        elif tlp.code in ERRORS:
            self.errors.append(MessageCode(tlp.code))
            for callback in self.on_error:
                callback(MessageCode(tlp.code))
