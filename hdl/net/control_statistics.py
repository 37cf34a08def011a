"""What was counted: commands of class STATS.

Source: VIRTIO 1.4, section "Control Virtqueue / Device Statistics".
"""

from contextlib import contextmanager

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out, connect, flipped

from .control_coalescing import QueueLookup
from .control_result import Result
from .control_spec import Ack, ControlFeatures, HandlerPort, StatisticsCommand
from .statistics import StatisticQuery

__all__ = ["DeviceStatistics", "SIZES"]


# Counters in a reply, by the kind of statistics: of a receive, a transmit and the control queue.
SIZES = ((6, 4, 4, 2), (6, 2, 6, 2), (2, 0, 0, 0))
_CONTROL = 2           # role of the control queue among these


class _Request(data.StructLayout):
    """What is asked of a queue. Fields: `virtqueue`, its `role` and `queue` local index; `kinds` a bit each."""

    def __init__(self, pair_bits):
        super().__init__({"virtqueue": 16, "role": 2, "queue": pair_bits, "kinds": 4})


class DeviceStatistics(wiring.Component):
    """QUERY: no data; le64 types that there are. GET: 16 bytes for each of any queues {le16 virtqueue, 6 reserved, le64
    types}; for each of them, and each of its types in ascending order, a reply {u8 type, 0, le16 virtqueue, 0, le16
    size, le64 counters}. The ack comes first; of the result as much as there is room for.

    VIRTIO_NET_ERR and no result: without VIRTIO_NET_F_DEVICE_STATS; another command; data of another length; a
    virtqueue that there is not, one with a type that is not one of its own, or whose feature was not negotiated; more
    than `requests` requests. Everything is checked before the ack, so requests are kept: as many as there are
    virtqueues, rounded up to a power of 2.

    The control queue's own counters are here: commands executed, and acknowledged by VIRTIO_NET_OK, this one included.

    Parameters
    ----------
    pair_bits : int
    requests : int

    Attributes
    ----------
    i : In(HandlerPort)
    features : In(ControlFeatures)
    clear : In(1)
        pulse: counters 0
    executed, acknowledged : In(1)
        pulses: a command of any class is executed, is acknowledged
    virtqueue : Out(16); place : In(QueueLookup)
        translated in the same cycle
    query : Out(StatisticQuery); value : In(64)
        2 cycles later
    """

    def __init__(self, pair_bits, requests):
        self.pair_bits = pair_bits
        self.requests = requests
        super().__init__({
            "i": In(HandlerPort()), "features": In(ControlFeatures), "clear": In(1),
            "executed": In(1), "acknowledged": In(1),
            "virtqueue": Out(16), "place": In(QueueLookup(pair_bits)),
            "query": Out(StatisticQuery(pair_bits)), "value": In(64),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.list = listed = Memory(shape=_Request(self.pair_bits), depth=self.requests, init=[])
        m.submodules.result = self._result = result = Result()
        connect(m, result.reply, flipped(self.i.reply))
        self._count = Signal(range(self.requests + 1))      # requests that have come
        self._at, self._wrong = Signal(4), Signal()         # bytes of the one that comes; something is not right
        allowed, features = Signal(data.ArrayLayout(4, 3)), self.features
        gets, asks = (self.i.command == command for command in (StatisticsCommand.GET, StatisticsCommand.QUERY))
        m.d.comb += [
            allowed[0].eq(Cat(1, features.receive_checksum, 0, 1)),
            allowed[1].eq(Cat(1, features.transmit_checksum, features.segmentation, 1)),
            allowed[2].eq(1),
            self.i.enough.eq(self._wrong), result.start.eq(self.i.execute), result.room.eq(self.i.room),
        ]
        self._take(m, listed.write_port(), allowed)
        self._answer(m, listed.read_port(), allowed, features.statistics & ~self._wrong & (self._at == 0)
                     & (gets | (asks & (self._count == 0))))
        return m

    def _take(self, m, write, allowed):
        """The requests as they come."""
        byte, place, request = self.i.bytes, self.place, Signal(_Request(self.pair_bits))
        m.d.comb += [
            self.virtqueue.eq(request.virtqueue),
            write.addr.eq(self._count), write.data.eq(request),
        ]
        with m.If(self.i.begin):
            m.d.sync += [self._count.eq(0), self._at.eq(0), self._wrong.eq(0)]
        with m.Elif(byte.valid & ~self._wrong):
            m.d.sync += self._at.eq(self._at + 1)
            with m.Switch(self._at):
                with m.Case(0, 1):
                    m.d.sync += request.virtqueue.eq(Cat(request.virtqueue[8:], byte.payload))
                with m.Case(2):
                    m.d.sync += [
                        self._wrong.eq(~(place.exists | place.control) | (self._count == self.requests)),
                        request.role.eq(Mux(place.control, _CONTROL, place.transmit)), request.queue.eq(place.queue),
                        request.kinds.eq(0),
                    ]
                for n in range(8):
                    with m.Case(8 + n):
                        if n in (0, 2, 4):
                            mine = request.role == n // 2
                            m.d.sync += self._wrong.eq((byte.payload & ~Mux(mine, allowed[n // 2], C(0, 8))).any())
                            with m.If(mine):
                                m.d.sync += request.kinds.eq(byte.payload[:4])
                        else:
                            m.d.sync += self._wrong.eq(byte.payload != 0)
            with m.If(self._at == 15):
                m.d.comb += write.en.eq(1)
                m.d.sync += self._count.eq(self._count + 1)

    @contextmanager
    def _state(self, m, name):
        """A state that is left when there is no room for more."""
        with m.State(name):
            yield
            with m.If(self._result.ended):
                m.next = "IDLE"

    def _answer(self, m, read, allowed, right):
        """Ack, then types or replies."""
        result, request, number = self._result, Signal(_Request(self.pair_bits)), Signal.like(self._count)
        rest, left = Signal(64), Signal(range(9))                 # bytes to give next, and how many
        kind, counter, counters = Signal(2), Signal(3), Signal(3)
        m.d.comb += [
            result.bytes.payload.eq(rest[:8]), read.addr.eq(number),
            self.query.transmit.eq(request.role[0]), self.query.queue.eq(request.queue),
            self.query.kind.eq(kind), self.query.counter.eq(counter),
        ]
        own = self._count_commands(m)
        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += [number.eq(0), rest.eq(Mux(right, Ack.OK.value, Ack.ERR.value))]
                with m.If(self.i.execute):
                    m.next = "ACK"
            with self._state(m, "ACK"):
                m.d.comb += [result.bytes.valid.eq(1), result.acks.eq(1)]
                with m.If(result.bytes.ready):
                    m.d.sync += [rest.eq(Cat(allowed[0], C(0, 12), allowed[1], C(0, 12), allowed[2])), left.eq(8),
                                 counter.eq(0), counters.eq(0), request.kinds.eq(0)]
                    m.next = "NEXT"
                    with m.If(rest[0] == Ack.ERR.value):
                        m.next = "END"
                    with m.Elif(self.i.command == StatisticsCommand.QUERY):
                        m.next = "BYTES"
            with self._state(m, "NEXT"):
                m.next = "LOOK"
            with self._state(m, "LOOK"):
                m.d.sync += [request.eq(read.data), number.eq(number + 1)]
                m.next = "TYPE"
                with m.If(number == self._count):
                    m.next = "END"
            with self._state(m, "TYPE"):
                lowest, size = self._next_type(m, request)
                m.d.sync += [
                    request.kinds.eq(request.kinds & (request.kinds - 1)), kind.eq(lowest), counter.eq(0),
                    counters.eq(size), left.eq(8),
                    rest.eq(Cat(lowest, C(0, 2), request.role, C(0, 10), request.virtqueue, C(0, 19), size + 1)),
                ]
                m.next = "NEXT"
                with m.If(request.kinds != 0):
                    m.next = "BYTES"
            with self._state(m, "BYTES"):
                m.d.comb += result.bytes.valid.eq(1)
                with m.If(result.bytes.ready):
                    m.d.sync += [rest.eq(rest >> 8), left.eq(left - 1)]
                    with m.If(left == 1):
                        m.next = "VALUE"
            with self._state(m, "VALUE"):
                # Its query has stood while 8 bytes were given.
                m.d.sync += [rest.eq(Mux(request.role == _CONTROL, Mux(counter[0], own[64:], own[:64]), self.value)),
                             counter.eq(counter + 1), left.eq(8)]
                m.next = "BYTES"
                with m.If(counter == counters):
                    m.next = "TYPE"
            with self._state(m, "END"):
                m.d.comb += result.done.eq(1)

    def _next_type(self, m, request):
        """The lowest of the kinds that are left, and how many counters it has."""
        lowest, size = Signal(2), Signal(3)
        for n in reversed(range(4)):
            with m.If(request.kinds[n]):
                m.d.comb += lowest.eq(n)
        for role, sizes in enumerate(SIZES):
            for kind, counters in enumerate(sizes):
                with m.If((request.role == role) & (lowest == kind)):
                    m.d.comb += size.eq(counters)
        return lowest, size

    def _count_commands(self, m):
        """Counted a cycle late, which keeps the way of the ack and the sum apart."""
        commands, right = Signal(64), Signal(64)
        executed, acknowledged = Signal(), Signal()
        m.d.sync += [
            executed.eq(self.executed), acknowledged.eq(self.acknowledged),
            commands.eq(commands + executed), right.eq(right + acknowledged),
        ]
        with m.If(self.clear):
            m.d.sync += [commands.eq(0), right.eq(0), executed.eq(0), acknowledged.eq(0)]
        return Cat(commands, right)
