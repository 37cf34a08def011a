"""Event counters behind the register bus."""

import re
from dataclasses import dataclass

from amaranth import *
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In

from .bus import RegisterBus

__all__ = ["Counter", "CounterBank"]


@dataclass(frozen=True, kw_only=True)
class Counter:
    """One counter: `name` dotted, as `rx.dropped`; `description` one line; `width` bits of the amount that may be added
    in a cycle, 1 for a plain event."""
    name: str
    description: str
    width: int = 1

    def __post_init__(self):
        if not re.fullmatch(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*", self.name):
            raise ValueError(f"{self.name!r} is not a dotted name in lower case")
        if not 1 <= self.width <= 32:
            raise ValueError(f"counter {self.name!r} takes amounts of 1 to 32 bits, not {self.width!r}")

    @property
    def port(self):
        return self.name.replace(".", "_")


class CounterBank(wiring.Component):
    """Counters of 64 bits, 8 bytes each in the order given; little-endian, read-only.

    Each counter adds up in a few flip-flops of its own, which a sweep carries over to a memory, one counter a cycle:
    what is read is at most as many cycles old as there are counters, plus 4. Counters start at 0 on reset and wrap at
    2**64; they outlive a reset of the device.

    Reading the low half of a counter keeps the high half that belongs to it for the next read of that counter's high
    half; so both halves agree if the low one is read first and no other counter between. A read takes 3 cycles; offsets
    behind the last counter read 0.

    Parameters
    ----------
    counters : iterable of Counter

    Attributes
    ----------
    bus : In(RegisterBus())
    per counter, its name with "_" for ".": In(width)
        amount to add in this cycle
    """

    def __init__(self, counters):
        self.counters = tuple(counters)
        if not 1 <= len(self.counters) <= 512:
            raise ValueError(f"a bank has 1 to 512 counters, which fill 4 KiB, not {len(self.counters)}")
        ports = [counter.port for counter in self.counters]
        for port in ports:
            if ports.count(port) > 1 or port == "bus":
                raise ValueError(f"there is more than one {port!r} in the bank")
        super().__init__({
            "bus": In(RegisterBus()),
            **{counter.port: In(counter.width) for counter in self.counters},
        })

    @property
    def size(self):
        """Bytes of the bank."""
        return 8 * len(self.counters)

    def describe(self):
        """Plain data for the manifest; `offset` counts from the bank's start."""
        return [{"name": c.name, "offset": 8 * n, "bytes": 8, "description": c.description}
                for n, c in enumerate(self.counters)]

    def elaborate(self, platform):
        m = Module()
        count = len(self.counters)
        m.submodules.totals = totals = memory.Memory(shape=64, depth=count, init=[])
        # Stage 1 takes a counter's amount, stage 2 adds it to its total.
        visited = Signal(range(count))
        taken = Signal(range(count))
        amount = Signal(32 + count.bit_length())
        # The first round writes the totals instead of adding, since a reset does not clear a memory.
        first = Signal(init=1)
        first_taken = Signal(init=1)
        started = Signal()
        last = visited == count - 1
        m.d.sync += [
            visited.eq(Mux(last, 0, visited + 1)),
            taken.eq(visited),
            amount.eq(self._take(m, visited)),
            first_taken.eq(first),
            started.eq(1),
        ]
        with m.If(last):
            m.d.sync += first.eq(0)
        read = totals.read_port(domain="comb")
        write = totals.write_port()
        m.d.comb += [
            read.addr.eq(taken),
            write.addr.eq(taken),
            write.en.eq(started),
            write.data.eq(Mux(first_taken, 0, read.data) + amount),
        ]
        self._serve(m, totals, first | first_taken)
        return m

    def _take(self, m, visited):
        """Amount collected by counter `visited`, which starts at this cycle's amount again."""
        amounts = []
        for n, counter in enumerate(self.counters):
            port = getattr(self, counter.port)
            collected = Signal(counter.width + len(self.counters).bit_length(), name=f"{counter.port}_collected")
            m.d.sync += collected.eq(Mux(visited == n, 0, collected) + port)
            amounts.append(collected)
        return Array(amounts)[visited]

    def _serve(self, m, totals, starting):
        request, response = self.bus.request, self.bus.response
        read = totals.read_port(domain="comb")
        index = Signal(range(max(2, len(self.counters))))
        total = Signal(64)
        kept = Signal(32)
        high = Signal()
        step = Signal(2)
        within = request.p.address[3:12] < len(self.counters)
        exists = Signal()
        m.d.comb += [
            request.ready.eq((step == 0) & ~response.valid),
            read.addr.eq(index),
        ]
        m.d.sync += [
            step.eq(Cat(request.valid & request.ready & ~request.p.write, step[0])),
            total.eq(Mux(exists & ~starting, read.data, 0)),
        ]
        with m.If(request.valid & request.ready):
            m.d.sync += [index.eq(request.p.address[3:]), high.eq(request.p.address[2]), exists.eq(within)]
        with m.If(response.ready):
            m.d.sync += response.valid.eq(0)
        with m.If(step[1]):
            m.d.sync += [response.valid.eq(1), response.p.eq(Mux(high, kept, total[:32]))]
            with m.If(~high):
                m.d.sync += kept.eq(total[32:])
