"""What is counted for each receive and transmit queue.

Source: VIRTIO 1.4, section "Control Virtqueue / Device Statistics".
"""

from amaranth import *
from amaranth.lib import data, enum, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from ..virtqueue.initialise import InitialiseWalk

__all__ = ["GROUPS", "QueueCounters", "QueueEvent", "Statistics", "StatisticKind", "StatisticQuery"]


# What happens to a queue → what is counted then, and the bits of the amount. A frame of up to 65535 bytes fits.
GROUPS = {
    "rx_notified": {"notifications": 1},
    "rx_received": {"packets": 1, "bytes": 17},
    "rx_interrupted": {"interrupts": 1},
    "rx_refused": {"drops": 1, "overruns": 1},       # a frame that was offered to the queue
    "rx_lost": {"drops": 1},                         # one that came to nothing before
    "rx_checked": {"valid": 1, "needed": 1, "none": 1, "bad": 1},
    "tx_notified": {"notifications": 1},
    "tx_sent": {"packets": 1, "bytes": 17},
    "tx_interrupted": {"interrupts": 1},
    "tx_dropped": {"drops": 1, "malformed": 1},
    "tx_refused": {"malformed": 1},                  # a packet with a bad header, which also counts as dropped
    "tx_checked": {"none": 1, "needed": 1},
    "tx_segmented": {"packets": 1, "bytes": 17, "segments": 1, "segments_bytes": 17, "packets_noseg": 1,
                     "bytes_noseg": 17},
}


class StatisticKind(enum.Enum, shape=2):
    """The low bits of a reply's type; bit 4 is set for transmit queues."""
    BASIC = 0
    CHECKSUM = 1
    SEGMENTATION = 2
    SPEED = 3


class QueueEvent(data.StructLayout):
    """Pulse: something to count for a queue. Fields: `valid`; `queue` local index; `add` amount for each counter."""

    def __init__(self, pair_bits, counters):
        super().__init__({"valid": 1, "queue": pair_bits, "add": data.StructLayout(counters)})


class StatisticQuery(data.StructLayout):
    """Names a counter. Fields: `transmit`, `queue` local index; `kind`; `counter` place in the reply."""

    def __init__(self, pair_bits):
        super().__init__({"transmit": 1, "queue": pair_bits, "kind": StatisticKind, "counter": 3})


class QueueCounters(wiring.Component):
    """Counters of 64 bits for each queue that are changed by the same events: an event a cycle, none is ever lost. They
    wrap to 0, and are 0 after reset and `clear`, once the walk is over.

    Parameters
    ----------
    pair_bits : int
    counters : dict of str to int
        name → bits of the amount

    Attributes
    ----------
    event : In(QueueEvent)
    queue : In(pair_bits); values : Out(struct of 64 bits each)
        in the same cycle
    clear : In(1); clearing : Out(1)
    """

    def __init__(self, pair_bits, counters):
        self.counters = dict(counters)
        self.pair_bits = pair_bits
        self.shape = data.StructLayout(dict.fromkeys(self.counters, 64))
        super().__init__({
            "event": In(QueueEvent(pair_bits, self.counters)),
            "queue": In(pair_bits), "values": Out(self.shape),
            "clear": In(1), "clearing": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.walk = walk = InitialiseWalk(1 << self.pair_bits, self.pair_bits)
        m.submodules.memory = self._memory = memory = Memory(shape=self.shape, depth=1 << self.pair_bits, init=[])
        before, asked, write = memory.read_port(domain="comb"), memory.read_port(domain="comb"), memory.write_port()
        event = self.event
        m.d.comb += [
            walk.clear.eq(self.clear), self.clearing.eq(walk.walking),
            asked.addr.eq(self.queue), self.values.eq(asked.data),
            before.addr.eq(event.queue),
            write.addr.eq(Mux(walk.walking, walk.queue, event.queue)), write.en.eq(walk.walking | event.valid),
        ]
        m.d.comb += [write.data[name].eq(Mux(walk.walking, 0, before.data[name] + event.add[name]))
                     for name in self.counters]
        return m


class Statistics(wiring.Component):
    """All counters of all receive and transmit queues, and a way to read one of them. Rates are not limited anywhere,
    so counters of what was more than allowed are 0.

    Parameters
    ----------
    pair_bits : int

    Attributes
    ----------
    <group of GROUPS> : In(QueueEvent)
    query : In(StatisticQuery); value : Out(64)
        2 cycles later
    clear : In(1); clearing : Out(1)
        all back to 0
    """

    def __init__(self, pair_bits):
        self.pair_bits = pair_bits
        super().__init__({
            **{name: In(QueueEvent(pair_bits, counters)) for name, counters in GROUPS.items()},
            "query": In(StatisticQuery(pair_bits)), "value": Out(64), "clear": In(1), "clearing": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        query = Signal.like(self.query)
        m.d.sync += query.eq(self.query)
        values, clearing = {}, []
        for name, counters in GROUPS.items():
            m.submodules[name] = group = QueueCounters(self.pair_bits, counters)
            # An event is counted a cycle late, which keeps its sources and the sums apart.
            m.d.sync += group.event.eq(getattr(self, name))
            m.d.comb += [group.queue.eq(query.queue), group.clear.eq(self.clear)]
            values[name] = group.values
            clearing.append(group.clearing)
        m.d.comb += self.clearing.eq(Cat(clearing).any())

        def basic(notified, packets, interrupted, drops, last):
            return [notified.notifications, packets.packets, packets.bytes, interrupted.interrupts, drops, last]
        refused, dropped, bad = values["rx_refused"], values["tx_dropped"], values["tx_refused"].malformed
        replies = {
            (0, StatisticKind.BASIC): basic(values["rx_notified"], values["rx_received"], values["rx_interrupted"],
                                            refused.drops + values["rx_lost"].drops, refused.overruns),
            (0, StatisticKind.CHECKSUM): list(self._each(values, "rx_checked")),
            (1, StatisticKind.BASIC): basic(values["tx_notified"], values["tx_sent"], values["tx_interrupted"],
                                            dropped.drops + bad, dropped.malformed + bad),
            (1, StatisticKind.CHECKSUM): list(self._each(values, "tx_checked")),
            (1, StatisticKind.SEGMENTATION): list(self._each(values, "tx_segmented")),
        }
        chosen = Signal(64)
        for (transmit, kind), counters in replies.items():
            with m.If((query.transmit == transmit) & (query.kind == kind)):
                with m.Switch(query.counter):
                    for n, counter in enumerate(counters):
                        with m.Case(n):
                            m.d.comb += chosen.eq(counter)
        m.d.sync += self.value.eq(chosen)
        return m

    @staticmethod
    def _each(values, group):
        return (values[group][name] for name in GROUPS[group])
