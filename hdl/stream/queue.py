"""Storage on a stream: queues and register slices."""

from amaranth import *
from amaranth.lib import fifo, stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Queue", "RegisterSlice", "Skid"]


class Queue(wiring.Component):
    """First-in first-out queue of `depth` payloads.

    Latency is 1 cycle in distributed memory, 2 in block memory, and 0 in an empty one that is `through`; throughput is
    one payload a cycle. `o.valid` never depends on `o.ready` within a cycle, nor on `i.valid` unless the queue is
    `through`, nor `i.ready` on `o.ready`.

    Parameters
    ----------
    shape : shape-like
        payload
    depth : int
        payloads held
    block : bool or None
        use block memory with a registered output; None chooses it for more than 64 payloads
    through : bool
        while nothing is inside, show at `o` what is offered at `i`; not with block memory

    Attributes
    ----------
    i, o : streams
    level : Out(range(depth + 2))
        payloads inside
    """

    def __init__(self, shape, depth, block=None, through=False):
        if depth < 2:
            raise ValueError(f"a queue holds at least 2 payloads, not {depth!r}: use RegisterSlice")
        self.shape = shape
        self.depth = depth
        self.block = depth > 64 if block is None else block
        self.through = through
        if self.through and self.block:
            raise ValueError("a queue in block memory can't be passed through")
        super().__init__({
            "i": In(stream.Signature(shape)),
            "o": Out(stream.Signature(shape)),
            "level": Out(range(depth + 2)),
        })

    def elaborate(self, platform):
        m = Module()
        width = Shape.cast(self.shape).width
        kind = fifo.SyncFIFOBuffered if self.block else fifo.SyncFIFO
        m.submodules.fifo = storage = kind(width=width, depth=self.depth)
        m.d.comb += [
            storage.w_data.eq(self.i.payload),
            storage.w_en.eq(self.i.valid),
            self.i.ready.eq(storage.w_rdy),
            Value.cast(self.o.payload).eq(storage.r_data),
            self.o.valid.eq(storage.r_rdy),
            storage.r_en.eq(self.o.ready),
            self.level.eq(storage.level),
        ]
        if self.through:
            with m.If(~storage.r_rdy):
                m.d.comb += [
                    Value.cast(self.o.payload).eq(self.i.payload),
                    self.o.valid.eq(self.i.valid),
                    storage.w_en.eq(self.i.valid & ~self.o.ready),
                ]
        return m


class RegisterSlice(wiring.Component):
    """Two-entry register slice: cuts every combinational path of a stream at full throughput; latency 1 cycle.

    Parameters
    ----------
    shape : shape-like
        payload
    """

    def __init__(self, shape):
        self.shape = shape
        super().__init__({
            "i": In(stream.Signature(shape)),
            "o": Out(stream.Signature(shape)),
        })

    def elaborate(self, platform):
        m = Module()
        spare = Signal(self.shape)
        spare_valid = Signal()
        out = Signal(self.shape)
        out_valid = Signal()
        m.d.comb += [
            self.i.ready.eq(~spare_valid),
            self.o.payload.eq(out),
            self.o.valid.eq(out_valid),
        ]
        with m.If(~out_valid | self.o.ready):
            m.d.sync += [
                Value.cast(out).eq(Mux(spare_valid, Value.cast(spare), Value.cast(self.i.payload))),
                out_valid.eq(spare_valid | self.i.valid),
                spare_valid.eq(0),
            ]
        with m.Elif(self.i.valid & self.i.ready):
            m.d.sync += [Value.cast(spare).eq(Value.cast(self.i.payload)), spare_valid.eq(1)]
        return m


class Skid(wiring.Component):
    """Takes what its output refuses into a register: cuts the path of `ready` at full throughput; latency 0.

    Parameters
    ----------
    shape : shape-like
        payload
    """

    def __init__(self, shape):
        self.shape = shape
        super().__init__({
            "i": In(stream.Signature(shape)),
            "o": Out(stream.Signature(shape)),
        })

    def elaborate(self, platform):
        m = Module()
        held = Signal()
        refused = Signal(self.shape)
        m.d.comb += [
            self.i.ready.eq(~held),
            Value.cast(self.o.payload).eq(Mux(held, Value.cast(refused), Value.cast(self.i.payload))),
            self.o.valid.eq(held | self.i.valid),
        ]
        with m.If(~held):
            m.d.sync += Value.cast(refused).eq(Value.cast(self.i.payload))
        m.d.sync += held.eq(self.o.valid & ~self.o.ready)
        return m
