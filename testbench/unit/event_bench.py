"""A bench for `Event`: notifications in, a host that answers its reads, and what happened."""

from amaranth.hdl import Cat

from hdl.config import NicConfig
from hdl.dma.spec import Client, ReadStatus
from hdl.virtqueue.event import Event
from testbench.unit.bench import StreamBench
from testbench.unit.queue_table import WithQueueTable

__all__ = ["DESC", "DISABLE", "ENABLE", "RESERVED", "Rig", "driver_area"]

ENABLE, DISABLE, DESC, RESERVED = range(4)


def driver_area(queue):
    return (0x1_0000_0000 if queue % 2 else 0) + 0x2000 * queue + 0x44


class Rig:
    """`Event` with a host that answers reads after `delay()` cycles with the flags as they are at that moment."""

    def __init__(self, *, pairs=4, width=128, vectors=None, flags=None, msix=1, live=1, enabled=None, stall=0.0,
                 read_stall=None, delay=lambda: 20, status=lambda: ReadStatus.OK, seed=1, size=16, event_index=0):
        self.dut = dut = Event(NicConfig(pairs=pairs, width=width), Client.EVENT_TX)
        vectors = vectors or [n + 1 for n in range(pairs)]
        enabled = enabled or [1] * pairs
        queues = [{"driver": driver_area(n), "size": size, "vector": vectors[n], "enabled": enabled[n]}
                  for n in range(pairs)]
        self.bench = StreamBench(WithQueueTable(dut, queues), seed=seed)
        self.flags = flags or [ENABLE] * pairs
        self.positions = [0x8003] * pairs       # desc_event_off and desc_event_wrap
        self.size, self.event_index = size, event_index
        self.used = [0] * pairs     # slots, modulo two passes
        self.msix, self.live, self.delay, self.status = msix, live, delay, status
        self.events = []        # ("notify" | "read" | "answer" | "interrupt" | "error", queue, value), as they happen
        self.cycles = []        # of the events
        self.hold = False       # answer no read while set
        self.interrupts = self.bench.get(dut.interrupts, stall=stall)
        self.reads = self.bench.get(dut.reads, stall=stall if read_stall is None else read_stall)
        self.bench.process(self.watch, wait=False)
        self.bench.process(self.host, wait=False)

    async def watch(self, ctx):
        dut, cycle = self.dut, 0
        ctx.set(dut.msix_enable, self.msix)
        ctx.set(dut.live, self.live)
        ctx.set(dut.event_index, self.event_index)
        # In this order: what happens in one cycle can't be cause and effect.
        ports = {"interrupt": dut.interrupts, "read": dut.reads, "answer": dut.beats, "notify": dut.notify}
        while True:
            _, _, error, *transfers = await ctx.tick().sample(dut.error, *(
                Cat(port.valid & port.ready, port.payload.queue) for port in ports.values()))
            happened = [(name, transfer >> 1) for name, transfer in zip(ports, transfers) if transfer & 1]
            self.events += happened + [("error", None)] * error
            self.cycles += [cycle] * (len(happened) + error)
            cycle += 1

    async def host(self, ctx):
        beats = self.dut.beats
        waiting, taken = [], 0
        self.answers = []
        while True:
            while taken < len(self.reads):
                waiting.append([self.delay(), self.reads[taken]])
                taken += 1
            due = [read for read in waiting if read[0] <= 0]
            if due and not self.hold:
                waiting.remove(due[0])
                queue, status = due[0][1].queue, self.status()
                self.answers.append((queue, self.flags[queue], status))
                structure = self.flags[queue] << 16 | self.positions[queue]
                ctx.set(beats.payload, {
                    "data": 0xdead_beef << 32 | 0xfffc << 16 | structure, "bytes": 4, "first": 1, "last": 1,
                    "client": Client.EVENT_TX, "queue": queue, "status": status})
                ctx.set(beats.valid, 1)
                assert ctx.get(beats.ready), "there is a place for every answer"
                await ctx.tick()
                ctx.set(beats.valid, 0)
            else:
                await ctx.tick()
            for read in waiting:
                read[0] -= 1

    def position(self, slots):
        """(index, wrap) after so many slots."""
        passes, index = divmod(slots, self.size)
        return index, 1 - passes % 2

    def notification(self, queue, slots=1, due=1):
        self.used[queue] += slots
        index, wrap = self.position(self.used[queue])
        return {"queue": queue, "next": {"index": index, "wrap": wrap}, "slots": slots, "due": due}

    def put(self, queues, stall=0.0):
        self.bench.put(self.dut.notify, [self.notification(queue) for queue in queues], stall=stall)

    def run(self, settle=200):
        self.bench.run(settle=settle)
        return self.events

    def count(self, name, queue=None):
        return sum(event[0] == name and queue in (None, event[1]) for event in self.events)
