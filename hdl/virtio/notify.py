"""The notification area.

Source: VIRTIO 1.4, sections "Notification capability", "Available Buffer Notifications".
"""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hdl.regs import RegisterBus
from hdl.stream import Queue

__all__ = ["Doorbell", "Notify"]


class Doorbell(data.StructLayout):
    """The driver has made buffers available.

    Fields: `queue` virtqueue index; `has_data` the write was 32 bits wide, so that, if NOTIFICATION_DATA is negotiated,
    `next_off` and `next_wrap` tell where the driver will go on.
    """

    def __init__(self, queue_bits):
        super().__init__({"queue": queue_bits, "next_off": 15, "next_wrap": 1, "has_data": 1})


class Notify(wiring.Component):
    """Turns writes to the doorbell of a queue into `Doorbell`s.

    A queue's doorbell is the first DW of its page; where it lies tells the queue, the written index is not looked at.
    Bytes 0 and 1 must be enabled; all other writes are ignored, and reads answer 0. A doorbell a cycle, latency 0.
    `depth` doorbells wait inside; the engines take them in bounded time whatever they do, so the register bus
    never waits for the host.

    Parameters
    ----------
    queues : int
        virtqueues
    page : int
        notify_off_multiplier, a power of 2
    depth : int

    Attributes
    ----------
    bus : In(RegisterBus())
        addresses count from the area's start
    hold : In(1)
        take nothing in this cycle: what was written before is still on its way to the engines
    doorbells : Out(stream of Doorbell)
    """

    def __init__(self, queues, page, depth=8):
        if page < 4 or page & (page - 1):
            raise ValueError(f"page is a power of 2 from 4 on, not {page!r}")
        self.queues = queues
        self.page = page
        self.doorbell = Doorbell(max(1, (queues - 1).bit_length()))
        self._depth = depth
        super().__init__({
            "bus": In(RegisterBus()),
            "hold": In(1),
            "doorbells": Out(stream.Signature(self.doorbell)),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.waiting = waiting = Queue(self.doorbell, self._depth, through=True)
        wiring.connect(m, waiting.o, wiring.flipped(self.doorbells))
        request, response = self.bus.request, self.bus.response
        page_bits = (self.page - 1).bit_length()
        queue = request.p.address[page_bits:]
        rings = Signal()
        m.d.comb += [
            rings.eq(request.p.write & request.p.strobe[:2].all() & (request.p.address[2:page_bits] == 0)
                     & (queue < self.queues)),
            waiting.i.valid.eq(request.valid & request.ready & rings),
            waiting.i.p.queue.eq(queue),
            waiting.i.p.next_off.eq(request.p.data[16:31]),
            waiting.i.p.next_wrap.eq(request.p.data[31]),
            waiting.i.p.has_data.eq(request.p.strobe.all()),
            # The answer to a read is ready with it: no request before it is taken.
            request.ready.eq(~self.hold & waiting.i.ready & (~response.valid | response.ready)),
            response.p.eq(0),
        ]
        with m.If(request.valid & request.ready & ~request.p.write):
            m.d.sync += response.valid.eq(1)
        with m.Elif(response.ready):
            m.d.sync += response.valid.eq(0)
        return m
