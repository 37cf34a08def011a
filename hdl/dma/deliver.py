"""Ready transactions, and which of them is delivered next."""

from amaranth import *
from amaranth.lib import fifo, stream, wiring
from amaranth.lib.wiring import In, Out

from hdl.stream import RegisterSlice

from .read_records import GROUP, READ_CLIENTS, ReadOpened, ReadReady

__all__ = ["ReadyQueue", "DeliveryChoice", "room_beats"]


def room_beats(config, row):
    """Beats that a client of the table undertakes to take while its `room` is 1."""
    return max(1, -(-row.most_bytes(config) // config.bytes_per_beat))


class ReadyQueue(wiring.Component):
    """Queue with a registered output. Latency 1 cycle; it is made large enough to take everything.

    Parameters: `shape`; `depth`. Attributes: `i`, in, always ready; `o`, out.
    """

    def __init__(self, shape, depth):
        self.shape = shape
        self.depth = depth
        super().__init__({"i": In(stream.Signature(shape, always_ready=True)), "o": Out(stream.Signature(shape))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.store = store = fifo.SyncFIFO(width=Shape.cast(self.shape).width, depth=self.depth)
        m.submodules.out_slice = out = RegisterSlice(self.shape)
        empty = ~store.r_rdy
        m.d.comb += [
            store.w_data.eq(self.i.payload),
            store.w_en.eq(self.i.valid & ~(empty & out.i.ready)),
            store.r_en.eq(out.i.ready),
            out.i.payload.eq(Mux(empty, Value.cast(self.i.payload), store.r_data)),
            out.i.valid.eq(self.i.valid | ~empty),
        ]
        wiring.connect(m, out.o, wiring.flipped(self.o))
        return m


class DeliveryChoice(wiring.Component):
    """Queues ready transactions by client and chooses the next to deliver: clients in the order of the table.

    A transaction is chosen only if its client has `room`, and if all beats that are chosen but not yet taken by that
    client fit into what `room` stands for (`room_beats`). A beat counts as taken 2 cycles after its transfer; from then
    on `room` must take account of it. A transaction of more beats goes by itself, a cycle after the last beat before.

    A bulk client's transactions are chosen group by group; those of each group that is under way wait in a queue of
    their own. Requests take their tags in order, so the oldest group never waits for tags that a younger one has.

    Parameters
    ----------
    config : NicConfig

    Attributes
    ----------
    opened : stream of `ReadOpened`, in, always ready
    ready : stream of `ReadReady`, in, always ready
    chosen : stream of `ReadReady`, out
        combinational; while it is not taken the choice may change
    room_<client>, taken_<client> : In(1)
        `taken_<client>`: a beat of the client is transferred in this cycle
    group : Out(GROUP)
        group of the bulk client that is being chosen from
    idle : Out(1)
        no beat of a chosen transaction waits to be taken
    """

    def __init__(self, config):
        self.config = config
        shape = ReadReady(config)
        super().__init__({
            "opened": In(stream.Signature(ReadOpened(config), always_ready=True)),
            "ready": In(stream.Signature(shape, always_ready=True)),
            "chosen": Out(stream.Signature(shape)),
            **{f"room_{row.name}": In(1) for row in READ_CLIENTS},
            **{f"taken_{row.name}": In(1) for row in READ_CLIENTS},
            "group": Out(GROUP), "idle": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        none_under_way = []
        choice = []     # (eligible, stream) in order of preference
        for row in READ_CLIENTS:
            source = self._bulk(m, row) if row.bulk else self._queue(m, row, row.name, C(1))
            eligible, idle = self._account(m, row, source)
            choice.append((eligible, source))
            none_under_way.append(idle)
        self._choose(m, choice)
        m.d.comb += self.idle.eq(Cat(none_under_way).all())
        return m

    def _choose(self, m, choice):
        """Offer the first one that is eligible."""
        before = C(0)
        for eligible, source in choice:
            m.d.comb += source.ready.eq(self.chosen.ready & eligible & ~before)
            before |= eligible
        m.d.comb += self.chosen.valid.eq(before)
        # In pairs, so that the payload passes few multiplexers.
        picked = [(eligible, source.payload.as_value()) for eligible, source in choice]
        while len(picked) > 1:
            odd = picked[len(picked) & ~1:]
            picked = [(first | second, Mux(first, a, b))
                      for (first, a), (second, b) in zip(picked[::2], picked[1::2])] + odd
        m.d.comb += self.chosen.payload.eq(picked[0][1])

    def _queue(self, m, row, name, condition):
        m.submodules[name] = queue = ReadyQueue(self.ready.payload.shape(), self.config.tags)
        m.d.comb += [
            queue.i.valid.eq(self.ready.valid & (self.ready.payload.domain.client == row.client) & condition),
            queue.i.payload.eq(self.ready.payload),
        ]
        return queue.o

    def _bulk(self, m, row):
        """The client's transactions of the oldest group that is not at its end."""
        source = stream.Signature(self.ready.payload.shape()).create(path=(f"{row.name}_source",))
        opened, newest = self.opened.payload, Signal(GROUP, name=f"{row.name}_newest")
        opens = self.opened.valid & opened.last & (opened.domain.client == row.client)
        with m.If(opens):
            m.d.sync += newest.eq(opened.group)
        left = [Signal(range(self.config.tags + 1), name=f"{row.name}_left{n}") for n in range(1 << GROUP)]
        for n, count in enumerate(left):      # transactions opened and not chosen
            queue = self._queue(m, row, f"{row.name}_group{n}", self.ready.payload.group == n)
            m.d.sync += count.eq(count + (opens & (opened.group == n)) - (queue.valid & queue.ready))
            with m.If(self.group == n):
                m.d.comb += [
                    source.valid.eq(queue.valid), source.payload.eq(queue.payload), queue.ready.eq(source.ready),
                ]
                # Once another group has begun, nothing more comes of this one.
                with m.If((count == 0) & (newest != n)):
                    m.d.sync += self.group.eq(n + 1)
        return source

    def _account(self, m, row, source):
        """(may the transaction that `source` offers be chosen, nothing of the client is under way)"""
        most = room_beats(self.config, row)
        # Beats that `room` stands for, less those chosen and not yet taken; below 0 only for one that is too large.
        left = Signal(signed(1 + len(source.payload.beats) + 1), init=most, name=f"{row.name}_left")
        taken = Signal(name=f"{row.name}_taken")
        eligible = Signal(name=f"{row.name}_eligible")
        # Nothing was under way, and nothing has been chosen since.
        idle = Signal(name=f"{row.name}_idle", init=1)
        m.d.sync += [
            taken.eq(getattr(self, f"taken_{row.name}")),
            left.eq(left - Mux(source.valid & source.ready, source.payload.beats, 0) + taken),
            idle.eq((left == most) & ~(source.valid & source.ready)),
        ]
        # `left` is compared as far as it reaches while it is not below 0.
        bits, beats = most.bit_length(), source.payload.beats
        fits = ~left[-1] & ~beats[bits:].any() & (beats[:bits] <= left[:bits])
        m.d.comb += eligible.eq(source.valid & getattr(self, f"room_{row.name}") & (fits | idle))
        return eligible, idle
