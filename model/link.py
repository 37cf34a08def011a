"""What a PCIe link carries, what a packet costs on it, and how many packets per second that allows.

Budgets count bytes of link capacity per direction. Two of them: HARD, which nothing may ever exceed, and SPEC, the
denominator of every ratio. Source: PCI Express Base Specification, Revision 4.0, sections 3.5.3 (Ack and flow-control
update intervals) and 4.2 (encoding, SKP ordered sets). Frame lengths are bytes without FCS throughout.
"""

from dataclasses import dataclass, replace
from math import ceil, inf

__all__ = ["BATCH", "FOURS", "IDEAL", "LINKS", "PER_PACKET", "Bound", "Link", "Mix", "Policy", "Traffic", "bound",
           "bus_bound", "frames_bound", "link_bound", "ring_bound", "tags_bound", "tlp_bytes", "wire_bound"]

FRAMING = 4 + 4             # STP with sequence number, LCRC
DLLP = 8
SKP = 4 / 1538              # share of SKP ordered sets
REQUEST = FRAMING + 16      # memory request with a 64-bit address
REQUEST_32 = FRAMING + 12   # and below 4 GiB, where hosts take MSI-X
COMPLETION = FRAMING + 12
DESCRIPTOR = 16
NET_HEADER = 12             # struct virtio_net_hdr
EVENT = 4                   # event suppression structure, doorbell and MSI-X message: a DW each
ACK_FACTOR = {8: 2.5, 16: 3.0}
GENERATIONS = {"gen3": 8, "gen4": 16}   # GT/s

LINKS = ("gen3x8", "gen3x16", "gen4x8", "gen4x16")


def tlp_bytes(header_dwords, payload=0):
    """Link capacity that one TLP takes: framing, header, and the payload in whole DWs."""
    return FRAMING + 4 * header_dwords + 4 * -(-payload // 4)


class Link:
    """A link by name, one of `LINKS`.

    Attributes
    ----------
    raw, hard, spec : float
        Gb/s per direction: after encoding; that nothing may exceed; that ratios refer to
    interval : int
        symbol times from one Ack (and one flow-control update) to the next
    """

    def __init__(self, name, *, mps=256):
        if name not in LINKS:
            raise ValueError(f"unknown link {name!r}; there are: {', '.join(LINKS)}")
        generation, lanes = name.split("x")
        self.name = name
        self.mps = mps
        self.lanes = int(lanes)
        self.interval = int((mps + 28) * ACK_FACTOR[self.lanes] / self.lanes + 115)
        self.raw = GENERATIONS[generation] * self.lanes * 128 / 130
        self.hard = self.raw * (1 - SKP)
        self.spec = self.raw * (1 - SKP - 2 * DLLP / (self.interval * self.lanes))

    def __repr__(self):
        return f"Link({self.name!r})"

    def hard_bytes(self, nanoseconds):
        return self.hard / 8 * nanoseconds

    def spec_bytes(self, nanoseconds):
        return self.spec / 8 * nanoseconds


@dataclass(frozen=True, kw_only=True)
class Policy:
    """How much is shared between packets; `inf` makes something free.

    `fetch` descriptors per fetch (B), `used` used descriptors per write (U), `doorbell` packets per doorbell (N),
    `message` packets per MSI-X message (M), `event` packets per read of the driver's event suppression structure (E).
    `in_order`: transmitted packets per used descriptor where IN_ORDER is used, else 0. `layout`: "one" descriptor for
    header and frame; "two", the header in its own; "indirect", the same two in an indirect table. `header` bytes of
    virtio_net_hdr.
    """
    fetch: float = 16
    used: float = 16
    doorbell: float = 32
    message: float = 64
    event: float = 16
    in_order: float = 0
    layout: str = "one"
    header: int = NET_HEADER

    def with_(self, **changes):
        return replace(self, **changes)


BATCH = Policy()
FOURS = Policy(fetch=4, used=4, doorbell=8, message=32, event=4)
PER_PACKET = Policy(fetch=1, used=1, doorbell=1, message=1, event=1, layout="two")
IDEAL = Policy(fetch=32, used=16, doorbell=inf, message=inf, event=inf, in_order=inf)


class Traffic:
    """The TLPs that one packet causes, each with its share of a packet.

    Parameters
    ----------
    direction : "tx", "rx" or "both"
        "both" is one packet each way
    frame : int
        bytes without FCS
    rcb64 : bool
        completions are cut at every 64 bytes instead of at every `mps`
    """

    def __init__(self, direction, frame, policy=BATCH, *, mps=256, mrrs=512, rcb64=False):
        if direction not in ("tx", "rx", "both"):
            raise ValueError(f"direction must be tx, rx or both, not {direction!r}")
        self.mps = mps
        self.mrrs = mrrs
        self.completion_bytes = 64 if rcb64 else mps
        self.tlps = []      # (stream, framing and header bytes, payload bytes, share)
        for name in ("tx", "rx") if direction == "both" else (direction,):
            self._shared(name, policy)
            lengths = [policy.header + frame] if policy.layout == "one" else [policy.header, frame]
            for length in lengths:
                (self._read if name == "tx" else self._write)(length, 1)

    def _shared(self, direction, policy):
        """Descriptors, used descriptors, events, messages and doorbells."""
        chain = 2 if policy.layout == "two" else 1
        self._read(DESCRIPTOR * policy.fetch if policy.fetch != inf else 0, chain / policy.fetch)
        if policy.layout == "indirect":
            self._read(2 * DESCRIPTOR, 1)
        if policy.layout == "two":
            self._write(8, 1)           # slots between are never rewritten, so each used descriptor is a TLP
        elif direction == "tx" and policy.in_order:
            self._write(8, 1 / policy.in_order)
        else:                           # neighbouring slots in one TLP, from the first one's length field on
            self._write(DESCRIPTOR * policy.used - 8, 1 / policy.used)
        self._read(EVENT, 1 / policy.event)
        self.tlps.append(("rq", REQUEST_32, EVENT, 1 / policy.message))
        self.tlps.append(("cq", REQUEST, EVENT, 1 / policy.doorbell))

    def _write(self, length, share):
        for payload in _cut(length, self.mps):
            self.tlps.append(("rq", REQUEST, payload, share))

    def _read(self, length, share):
        for request in _cut(length, self.mrrs):
            self.tlps.append(("rq", REQUEST, 0, share))
            for payload in _cut(request, self.completion_bytes):
                self.tlps.append(("rc", COMPLETION, payload, share))

    def bytes(self):
        """(upstream, downstream) bytes of link capacity per packet."""
        up = down = 0
        for stream, overhead, payload, share in self.tlps:
            cost = (overhead + 4 * ceil(payload / 4)) * share
            if stream == "rq":
                up += cost
            else:
                down += cost
        return up, down

    def beats(self, width):
        """Beats of `width` bits per packet, as {stream: beats}: every TLP in whole beats, one at least."""
        total = {"rq": 0, "rc": 0, "cq": 0}
        for stream, _, payload, share in self.tlps:
            total[stream] += max(1, ceil(payload * 8 / width)) * share
        return total

    def reads(self):
        """Read requests per packet."""
        return sum(share for stream, _, payload, share in self.tlps if stream == "rq" and not payload)


class Mix(Traffic):
    """Frames of several lengths; what is said per packet is the mean over all of them.

    Parameters
    ----------
    lengths : mapping of frame length to how many frames have it
    others : those of `Traffic`
    """

    def __init__(self, direction, lengths, policy=BATCH, **options):
        total = sum(lengths.values())
        parts = [(Traffic(direction, length, policy, **options), count / total) for length, count in lengths.items()]
        self.tlps = [(stream, overhead, payload, share * part)
                     for traffic, part in parts for stream, overhead, payload, share in traffic.tlps]


def _cut(length, most):
    """Lengths of the pieces of at most `most` bytes."""
    return [min(most, length - at) for at in range(0, int(length), most)]


# Bounds, all in millions of packets per second; of "both", in each direction.

def link_bound(link, traffic):
    return link.spec * 1e3 / 8 / max(traffic.bytes())


def bus_bound(traffic, *, width=512, mhz=250, segments=1):
    """One beat a cycle on the busier of `rq` and `rc`; with segments, TLPs share beats at segment boundaries."""
    beats = traffic.beats(width // segments)
    return mhz * segments / max(beats["rq"], beats["rc"])


def frames_bound(lengths, *, width=512, mhz=250):
    """A packet that leaves as frames of these `lengths`, without FCS: a frame is whole beats, one beat a cycle."""
    return mhz / sum(ceil(length * 8 / width) for length in lengths)


def tags_bound(traffic, *, tags, round_trip):
    """`tags` reads outstanding, each for `round_trip` ns."""
    reads = traffic.reads()
    return tags * 1e3 / round_trip / reads if reads else inf


def ring_bound(*, size, residence, queues=1, descriptors=1):
    """`size` slots per queue, each packet holding `descriptors` of them for `residence` ns."""
    return size // descriptors * queues * 1e3 / residence


def wire_bound(frame, gbps):
    """Ethernet at `gbps`: at least 64 bytes with FCS, preamble 8 and interpacket gap 12."""
    return gbps * 1e3 / 8 / (max(frame + 4, 64) + 20)


@dataclass(frozen=True)
class Bound:
    """`mpps` is the smallest of `parts`, {name: Mpps}; `name` says which."""
    mpps: float
    name: str
    parts: dict


def bound(link, direction, frame, *, policy=BATCH, mrrs=512, rcb64=False, width=512, mhz=250, segments=1, gbps=None,
          tags=None, round_trip=None, ring=None, residence=None, queues=1, segments_of=None):
    """The bound of a run: the smallest of link, bus and, where given, wire, tags (with their round trip) and ring; with
    `segments_of`, the lengths of frames that a packet is cut in, also of the clock at the wire."""
    traffic = Traffic(direction, frame, policy, mps=link.mps, mrrs=mrrs, rcb64=rcb64)
    parts = {"link": link_bound(link, traffic),
             "bus": bus_bound(traffic, width=width, mhz=mhz, segments=segments)}
    if segments_of is not None:
        parts["clock"] = frames_bound(segments_of, width=width, mhz=mhz)
    if gbps is not None:
        parts["wire"] = wire_bound(frame, gbps)
    if tags is not None:
        parts["tags"] = tags_bound(traffic, tags=tags, round_trip=round_trip)
    if ring is not None:
        parts["ring"] = ring_bound(size=ring, residence=residence, queues=queues,
                                   descriptors=2 if policy.layout == "two" else 1)
    name = min(parts, key=parts.get)
    return Bound(parts[name], name, parts)
