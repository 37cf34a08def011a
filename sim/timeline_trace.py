"""A run as a trace for Perfetto (ui.perfetto.dev), in the Trace Event Format's JSON.

Tracks: doorbells, reads and writes by engine, frames on the wire, the transaction layer; for each queue its packets,
each with what it waited for; counters. Arrows lead from a doorbell over fetch, data, wire and used to the interrupt.
A microsecond of the trace is one of the simulation; `args.cycle` has the clock cycle.
"""

import json
from collections import defaultdict

from .timeline_packets import STAGES

__all__ = ["phases", "trace_events", "write_trace"]

# Times of a packet by the order in which they usually come: (attribute, what reaching it ends).
MARKS = {
    "tx": (("doorbell", ""), ("fetched", "until fetch"), ("descriptors", "descriptor fetch"), ("table", "until table"),
           ("elements", "table"), ("read", "in the cache"), ("data", "data read"), ("wire", "until wire"),
           ("sent", "wire"), ("used", "until used"), ("event", "until event read"), ("event_there", "event read"),
           ("message", "until MSI-X")),
    "rx": (("wire", ""), ("sent", "wire"), ("verdict", "until buffer"), ("written", "data write"),
           ("used", "until used"), ("event", "until event read"), ("event_there", "event read"),
           ("message", "until MSI-X")),
}
INSTANT = 1     # cycles that an instant is drawn with


def phases(packet):
    """[(name, begin, end)]: the packet's life without gaps and overlaps. What is reached out of order ends nothing."""
    found, now = [], None
    for attribute, name in MARKS[packet.direction]:
        at = getattr(packet, attribute)
        if at is None or now is not None and at < now:
            continue
        if now is not None and at > now:
            found.append((name, now, at))
        now = at
    return found


class _Tracks:
    """Numbers of processes and threads; spans that overlap get lanes of their own."""

    def __init__(self, period_us):
        self.period_us = period_us
        self.events = []
        self._processes, self._lanes = {}, defaultdict(list)

    def _process(self, name):
        if name not in self._processes:
            self._processes[name] = len(self._processes) + 1
            self.events.append({"ph": "M", "name": "process_name", "pid": self._processes[name], "tid": 0,
                                "args": {"name": name}})
        return self._processes[name]

    def lane(self, process, track, begin, end):
        """(pid, tid) of a lane of the track that is free from `begin` to `end`."""
        pid, lanes = self._process(process), self._lanes[process, track]
        for number, (tid, until) in enumerate(lanes):
            if until <= begin:
                lanes[number] = tid, end
                return pid, tid
        tid = sum(len(found) for (owner, _), found in self._lanes.items() if owner == process) + 1
        lanes.append((tid, end))
        self.events.append({"ph": "M", "name": "thread_name", "pid": pid, "tid": tid,
                            "args": {"name": track if len(lanes) == 1 else f"{track} ({len(lanes)})"}})
        return pid, tid

    def slice(self, place, name, category, begin, end, **args):
        pid, tid = place
        self.events.append({"ph": "X", "name": name, "cat": category, "pid": pid, "tid": tid,
                            "ts": begin * self.period_us, "dur": (end - begin) * self.period_us,
                            "args": {"cycle": begin, **args}})

    def flow(self, phase, number, place, at):
        pid, tid = place
        self.events.append({"ph": phase, "name": "packet", "cat": "flow", "id": number, "pid": pid, "tid": tid,
                            "ts": at * self.period_us, **({"bp": "e"} if phase == "f" else {})})

    def counter(self, name, at, value):
        self.events.append({"ph": "C", "name": name, "pid": self._process("counters"), "tid": 0,
                            "ts": at * self.period_us, "args": {"value": value}})


def trace_events(run, period_ns):
    """List of trace events for a `Run`."""
    tracks = _Tracks(period_ns / 1e3)
    places = {}     # (track, cycle at which it ends or happens) → where its slice is, and a cycle within it
    blocks = [*((track, name, begin, max(end, begin + INSTANT), details) for track, name, begin, end, details in
                run.spans),
              *((track, name, at, at + INSTANT, details) for track, name, at, details in run.instants)]
    for track, name, begin, end, details in sorted(blocks, key=lambda block: (block[2], block[3])):
        place = tracks.lane("card", track, begin, end)
        tracks.slice(place, name, track, begin, end, **details)
        places.setdefault((track, begin), (place, begin))
    for packet in sorted(run.packets, key=lambda packet: (_begin(packet), packet.number)):
        _draw_packet(tracks, packet)
        _draw_flow(tracks, packet, places)
    for name, steps in run.steps.items():
        for at, value in steps:
            tracks.counter(name, at, value)
    return tracks.events


def _begin(packet):
    parts = phases(packet)
    return parts[0][1] if parts else 0


def _draw_packet(tracks, packet):
    parts = phases(packet)
    if not parts:
        return
    begin, end = parts[0][1], parts[-1][2]
    place = tracks.lane("packets", f"{packet.direction} queue {packet.queue}", begin, end)
    known = {name: getattr(packet, name) for name in ("number", "id", "bytes", "frames", "head", "dropped")
             if getattr(packet, name) is not None}
    tracks.slice(place, f"packet {packet.number}", "packet", begin, end, **known)
    for name, first, last in parts:
        tracks.slice(place, name, "stage", first, last)


def _draw_flow(tracks, packet, places):
    direction = packet.direction
    steps = [("doorbells", packet.doorbell), ("fetch", packet.fetched), ("data", packet.read), ("wire", packet.wire)]
    if direction == "rx":
        steps = [("wire", packet.wire), ("data", packet.verdict)]
    steps += [("used", packet.used), ("event", packet.event)]
    found = [places[f"{direction} {track}", at] for track, at in steps if (f"{direction} {track}", at) in places]
    if packet.message is not None and ("msix", packet.message) in places:
        found.append(places["msix", packet.message])
    if len(found) < 2:
        return
    number = 2 * packet.number + (direction == "rx")
    for place, (where, at) in enumerate(found):
        tracks.flow("s" if place == 0 else "f" if place == len(found) - 1 else "t", number, where, at)


def write_trace(path, run, period_ns, about):
    """Write the trace; `about` is a dict of what the run was."""
    content = {"traceEvents": trace_events(run, period_ns), "displayTimeUnit": "ns", "otherData": about}
    path.write_text(json.dumps(content) + "\n")


def durations(run):
    """{(direction, stage): [cycles]} of all packets."""
    found = {(direction, name): [] for direction, stages in STAGES.items() for name, _, _ in stages}
    for packet in run.packets:
        for name, begin, end in packet.stages():
            found[packet.direction, name].append(end - begin)
    return {key: values for key, values in found.items() if values}
