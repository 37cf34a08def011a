"""From the events that the card's taps told to the life of each packet, each read and each batch.

Everything in the card that belongs to one queue keeps its order, and so do frames on the wire; so events are brought
together by order alone, and ring positions tell which fetch brought a packet's descriptors. Times are cycle numbers.
"""

from bisect import bisect_right
from collections import defaultdict, deque
from dataclasses import dataclass, field

from .timeline_frames import Leaving

__all__ = ["STAGES", "Event", "Packet", "Run", "decode", "runs_of"]

# A packet's stages, in the order in which it goes through them: (name, begins, ends), named as `Packet` has the times.
STAGES = {
    "tx": (("descriptor fetch", "fetched", "descriptors"), ("table", "table", "elements"),
           ("data read", "read", "data"), ("to the wire", "data", "wire"), ("wire", "wire", "sent"),
           ("used", "data", "used"), ("event read", "event", "event_there"), ("interrupt", "event_there", "message")),
    "rx": (("descriptor fetch", "fetched", "descriptors"), ("table", "table", "elements"), ("wire", "wire", "sent"),
           ("to a buffer", "sent", "verdict"), ("data write", "verdict", "written"), ("used", "written", "used"),
           ("event read", "event", "event_there"), ("interrupt", "event_there", "message")),
}


@dataclass(frozen=True)
class Event:
    """Something that happened: `cycle`, `name` of the tap, `fields` of it."""
    cycle: int
    name: str
    fields: dict


def decode(events, taps):
    """`Event`s from the array that a run left and the taps of its manifest."""
    for cycle, number, words in events.tolist():
        value = sum(int(word) << 32 * n for n, word in enumerate(words))
        tap = taps[number]
        yield Event(cycle, tap["name"], {name: value >> low & (1 << bits) - 1 for name, low, bits in tap["fields"]})


@dataclass(eq=False)
class Packet:
    """A transmitted or received packet. A time that isn't known is None: it did not happen in the run, or, like a
    `doorbell` that nobody rang, not at all."""
    direction: str
    queue: int
    number: int             # of its direction, from 0
    id: int | None = None
    bytes: int | None = None
    dropped: bool = False
    head: tuple | None = None       # position of its first descriptor
    doorbell: int | None = None     # the last one of the queue before the descriptors were asked for
    fetched: int | None = None
    descriptors: int | None = None
    table: int | None = None
    elements: int | None = None
    read: int | None = None
    data: int | None = None
    wire: int | None = None
    sent: int | None = None
    verdict: int | None = None
    written: int | None = None
    used: int | None = None
    event: int | None = None
    event_there: int | None = None
    message: int | None = None
    frames: int | None = None       # that a transmitted packet was cut in, if it was

    def stages(self):
        """(name, begin, end) of every stage that has both. Of a packet that is cut in many, the first frames leave
        before all its data is there: it has no stage between."""
        for name, begin, end in STAGES[self.direction]:
            first, last = getattr(self, begin), getattr(self, end)
            if first is not None and last is not None and first <= last:
                yield name, first, last


@dataclass
class Run:
    """What happened in a run, by kind: `packets`; `spans` (track, name, begin, end, details) of reads by engine;
    `instants` (track, name, cycle, details); `steps` {counter: [(cycle, value)]}."""
    packets: list = field(default_factory=list)
    spans: list = field(default_factory=list)
    instants: list = field(default_factory=list)
    steps: dict = field(default_factory=lambda: defaultdict(list))


class _Queue:
    """One virtqueue while its events go by."""

    def __init__(self):
        self.size = None
        self.position = (0, 1)
        self.doorbells = []             # cycles
        self.fetches = deque()          # (asked, index, wrap, count) without an answer
        self.brought = {}               # (index, wrap) of a descriptor → (asked, there)
        self.tables = {}                # buffer's id → first asked; the last answered
        self.elements = {}
        self.reading = None             # when the first part of a packet was asked for
        # Packets: whose bytes are being read; which wait to be used, and are; whose used descriptors no decision on an
        # interrupt has seen; which one is being made about, when it was asked for; and which one has been made about.
        self.awaited, self.read, self.completed = deque(), deque(), deque()
        self.published, self.asked, self.decided = [], deque(), []


class _Life:
    """Goes through the events of a run, in order. A method a tap; `self.run` grows."""

    def __init__(self, run):
        self.run = run
        self._queues = defaultdict(_Queue)
        self._counts = {"tx": 0, "rx": 0}
        self._judging = deque()
        self._leaving = Leaving()
        self._arriving, self._ending, self._kept = 0, deque(), deque()
        self._offered, self._accepted, self._written = deque(), deque(), deque()
        self._messages = deque()
        self._flying = {}
        self._levels = defaultdict(int)

    def take(self, event):
        direction, _, rest = event.name.partition(".")
        method = getattr(self, f"_{event.name.replace('.', '_')}", None)
        if method is not None:
            method(event.cycle, **event.fields)
        elif rest:
            method = getattr(self, f"_{rest.replace('.', '_')}", None)
            if method is not None:
                queue = event.fields.get("queue", 0)
                fields = {name: value for name, value in event.fields.items() if name != "queue"}
                method(event.cycle, direction, queue, self._queues[direction, queue], **fields)

    def _new(self, direction, queue, **what):
        packet = Packet(direction, queue, self._counts[direction], **what)
        self._counts[direction] += 1
        self.run.packets.append(packet)
        return packet

    def _level(self, counter, cycle, change):
        self._levels[counter] += change
        self.run.steps[counter].append((cycle, self._levels[counter]))

    def _span(self, track, name, begin, end, **details):
        self.run.spans.append((track, name, begin, end, details))

    # Both directions.

    def _configure(self, cycle, direction, queue, state, size):
        """A queue that is enabled begins anew. (A change of its vector tells the same size.)"""
        if state.size != size:
            self._queues[direction, queue] = fresh = _Queue()
            fresh.size = size

    def _doorbell(self, cycle, direction, queue, state, index, wrap, told):
        state.doorbells.append(cycle)
        details = {"queue": queue} | ({"next": [index, wrap]} if told else {})
        self.run.instants.append((f"{direction} doorbells", f"doorbell {queue}", cycle, details))

    def _fetch(self, cycle, direction, queue, state, index, wrap, count):
        state.fetches.append((cycle, index, wrap, count))
        self._level(f"{direction} descriptors asked for", cycle, count)

    def _fetch_there(self, cycle, direction, queue, state, status, index, wrap, count):
        asked = state.fetches.popleft()[0] if state.fetches else cycle
        self._level(f"{direction} descriptors asked for", cycle, -count)
        self._span(f"{direction} fetch", f"fetch {count}", asked, cycle, queue=queue, index=index, wrap=wrap,
                   count=count, status=status)
        for n in range(count):
            state.brought[index + n, wrap] = (asked, cycle)

    def _table(self, cycle, direction, queue, state, id, count):
        state.tables.setdefault(id, deque()).append(cycle)

    def _table_there(self, cycle, direction, queue, state, status, id, count):
        asked = state.tables[id].popleft() if state.tables.get(id) else cycle
        first = state.elements.get(id, (asked, cycle))[0]
        state.elements[id] = (first, cycle)
        self._span(f"{direction} table", f"table {count}", asked, cycle, queue=queue, id=id, count=count,
                   status=status)

    def _describe(self, packet, state, slots):
        """Where the packet stood in the ring, and so which fetch and which doorbell brought it."""
        packet.head = state.position
        index, wrap = state.position
        found = state.brought.get((index, wrap))
        if found is not None:
            packet.fetched, packet.descriptors = found
            place = bisect_right(state.doorbells, packet.fetched)
            packet.doorbell = state.doorbells[place - 1] if place else None
        packet.table, packet.elements = state.elements.pop(packet.id, (None, None))
        passes, index = divmod(index + slots, state.size)
        state.position = index, wrap ^ passes

    def _completed(self, cycle, direction, queue, state, id, slots):
        waiting = state.read if direction == "tx" else self._written
        packet = next((p for p in waiting if p.queue == queue), None)
        if packet is None:
            return
        waiting.remove(packet)
        if direction == "rx":
            packet.id = id
            self._describe(packet, state, slots)
        state.completed.append(packet)

    def _published(self, cycle, direction, queue, state, index, wrap, slots, buffers):
        self.run.instants.append((f"{direction} used", f"used {buffers}", cycle,
                                  {"queue": queue, "next": [index, wrap], "buffers": buffers}))
        for _ in range(min(buffers, len(state.completed))):
            packet = state.completed.popleft()
            packet.used = cycle
            state.published.append(packet)

    def _event(self, cycle, direction, queue, state):
        # What is published in the same cycle is for the next one.
        about = [packet for packet in state.published if packet.used < cycle]
        for packet in about:
            packet.event = cycle
        state.asked.append((cycle, about))
        state.published = state.published[len(about):]

    def _event_there(self, cycle, direction, queue, state):
        if state.asked:
            asked, state.decided = state.asked.popleft()
            self._span(f"{direction} event", "event suppression", asked, cycle, queue=queue)
            for packet in state.decided:
                packet.event_there = cycle

    def _interrupt(self, cycle, direction, queue, state, vector):
        self._messages.append(state.decided)
        self.run.instants.append((f"{direction} interrupts", f"interrupt {vector}", cycle,
                                  {"queue": queue, "vector": vector}))

    def _msix(self, cycle):
        if self._messages:
            for packet in self._messages.popleft():
                packet.message = cycle

    # Transmit.

    def _tx_read(self, cycle, queue, id, slots, last, drop):
        state = self._queues["tx", queue]
        if state.reading is None:
            state.reading = cycle
        if not last:
            return
        packet = self._new("tx", queue, id=id, read=state.reading, dropped=bool(drop))
        state.reading = None
        self._describe(packet, state, slots)
        state.read.append(packet)
        state.awaited.append(packet)
        self._level("tx packets being read", cycle, 1)

    def _tx_data(self, cycle, queue, id, last, status):
        awaited = self._queues["tx", queue].awaited
        if not last or not awaited:
            return
        packet = awaited.popleft()
        packet.data = cycle
        self._level("tx packets being read", cycle, -1)
        self._span("tx data", f"packet {packet.number}", packet.read, cycle, queue=queue, id=packet.id)
        self._judging.append(packet)

    def _tx_judged(self, cycle, good, bytes):
        if not self._judging:
            return
        packet = self._judging.popleft()
        packet.bytes, packet.dropped = bytes, not good

    def _tx_refused(self, cycle, queue):
        self._leaving.refused(queue)

    def _tx_complete(self, cycle, queue, first, last):
        self._leaving.complete(queue, first, last)

    def _tx_wire(self, cycle, first, last):
        self._leaving.wire(cycle, first, last)

    def close(self):
        """Frames are complete before or after their packet is judged, so only now is it known whose they are."""
        for packet, frames in self._leaving.by_packet(p for p in self.run.packets if p.direction == "tx"):
            if not frames:
                packet.dropped = True
                continue
            packet.frames = len(frames) if len(frames) > 1 else None
            packet.wire, packet.sent = frames[0].begin, frames[-1].end
            for number, frame in enumerate(frames):
                if frame.end is not None:
                    segment = f", segment {number}" if packet.frames else ""
                    self._span("tx wire", f"packet {packet.number}{segment}", frame.begin, frame.end,
                               queue=packet.queue)

    # Receive.

    def _rx_wire(self, cycle, first, last):
        if first:
            self._arriving = cycle
        if last:
            self._ending.append((self._arriving, cycle))

    def _rx_ended(self, cycle, kept, bytes):
        first, last = self._ending.popleft() if self._ending else (cycle, cycle)
        if kept:
            self._kept.append((first, last, bytes))
        else:
            self.run.instants.append(("rx dropped", "dropped", cycle, {"bytes": bytes}))
        self._span("rx wire", f"{bytes} bytes", first, last, kept=bool(kept))

    def _rx_frame(self, cycle, queue, length):
        first, last, size = self._kept.popleft() if self._kept else (None, None, length)
        self._offered.append(self._new("rx", queue, bytes=size, wire=first, sent=last))

    def _rx_verdict(self, cycle, accept, cause):
        if not self._offered:
            return
        packet = self._offered.popleft()
        packet.verdict, packet.dropped = cycle, not accept
        if accept:
            self._accepted.append(packet)

    def _rx_sent(self, cycle):
        if self._accepted:
            packet = self._accepted.popleft()
            packet.written = cycle
            self._written.append(packet)
            self._span("rx data", f"packet {packet.number}", packet.verdict, cycle, queue=packet.queue)

    # Transaction layer.

    def _rq(self, cycle, dw0, dw1, low):
        kind, length, tag = dw0 >> 24 & 0xff, dw0 & 0x3ff or 1024, dw1 >> 8 & 0xff
        if kind in (0x00, 0x20):
            self._flying[tag] = (cycle, length)
            self._level("reads in flight", cycle, 1)
        elif kind in (0x40, 0x60):
            self._span("rq writes", f"write {4 * length}", cycle, cycle, bytes=4 * length)

    def _rc(self, cycle, dw0, dw1, low):
        length, tag, left = dw0 & 0x3ff or 1024, low >> 8 & 0xff, dw1 & 0xfff or 4096
        asked = self._flying.get(tag)
        if asked is not None and left <= 4 * length:
            del self._flying[tag]
            self._level("reads in flight", cycle, -1)
            self._span("rq reads", f"read {4 * asked[1]}", asked[0], cycle, tag=tag, bytes=4 * asked[1])


def runs_of(events, taps):
    """The `Run` that the events of a simulation tell of."""
    run = Run()
    life = _Life(run)
    for event in decode(events, taps):
        life.take(event)
    life.close()
    return run
