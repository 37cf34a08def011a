"""What `make bench` measures: its rows, the bound that each is held against, and what each has to reach of it."""

from dataclasses import asdict, dataclass, replace
from itertools import product
from math import inf

from model.ideal import in_order_mpps
from model.latency import PROFILES
from model.link import BATCH, IDEAL, Link, Policy, Traffic, bound

__all__ = ["DIRECTIONS", "FRAMES", "LONGEST", "POLICIES", "TARGETS", "WINDOW_PACKETS", "BenchPolicy", "Row", "Target",
           "rows", "targets"]

DIRECTIONS = ("tx", "rx", "both")
FRAMES = (64, 65, 128, 256, 512, 1024, 1518, 9018)     # with FCS
FCS = 4
USUAL = "e5-warm"
WINDOW_PACKETS = 200    # packets, or segments, that a window holds at least, at the bound
LONGEST = 65535 + 14 + FCS      # an IP packet of 64 KiB less one byte


@dataclass(frozen=True)
class BenchPolicy:
    """How driver and card share the work. `features` are negotiated beyond those that every run has; `cost` is what a
    packet then costs at best; `coalesce`: the driver sleeps, and is told after so many packets in place of polling.
    `load` names what is sent, see job_bench.py; with `segment`, packets with `headers` bytes of headers, which are cut
    in segments of so many bytes of payload."""
    features: tuple
    cost: Policy
    coalesce: int = 0
    load: str = "plain"
    segment: int = 0
    headers: int = 0

    def segments_of(self, length):
        """Lengths of the frames that a packet is cut in; None if packets aren't cut."""
        if not self.segment:
            return None
        payload = length - self.headers
        return [self.headers + min(self.segment, payload - at) for at in range(0, payload, self.segment)]


SEGMENTATION = ("NET_CSUM", "NET_HOST_TSO4", "NET_HOST_TSO6", "NET_HOST_ECN", "NET_HOST_USO", "NET_GUEST_HDRLEN")
OFFLOADS = (*SEGMENTATION, "NET_GUEST_CSUM", "NET_MRG_RXBUF", "NET_CTRL_VQ", "NET_CTRL_GUEST_OFFLOADS", "NET_CTRL_RX",
            "NET_CTRL_RX_EXTRA", "NET_CTRL_VLAN", "NET_CTRL_MAC_ADDR", "NET_RSS", "NET_DEVICE_STATS")

POLICIES = {
    "plain": BenchPolicy((), BATCH),
    "notification": BenchPolicy(("NOTIFICATION_DATA",), BATCH),
    "in-order": BenchPolicy(("IN_ORDER",), IDEAL),
    "indirect": BenchPolicy(("INDIRECT_DESC",), BATCH.with_(layout="indirect")),
    "coalesced": BenchPolicy(("NET_CTRL_VQ", "NET_NOTF_COAL"), BATCH, coalesce=64),
    # A longer header is more to carry, so there the ratios to the bounds are compared.
    "offloads": BenchPolicy(OFFLOADS, BATCH, load="offloads"),
    "hashes": BenchPolicy((*OFFLOADS, "NET_HASH_REPORT"), BATCH.with_(header=20), load="offloads"),
    "scaling": BenchPolicy(("NET_CTRL_VQ", "NET_RSS"), BATCH, load="scattered"),
    "tso4": BenchPolicy(SEGMENTATION, BATCH, load="tso4", segment=1460, headers=54),
    "tso6": BenchPolicy(SEGMENTATION, BATCH, load="tso6", segment=1440, headers=74),
    "uso": BenchPolicy(SEGMENTATION, BATCH, load="uso", segment=1472, headers=42),
}
POLLED = tuple(name for name, policy in POLICIES.items() if not policy.coalesce and policy.load == "plain")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One measurement. `group` names the table it stands in; `frame` counts the FCS; `ring` descriptors in each
    ring."""
    group: str
    direction: str
    frame: int = 64
    link: str = "gen3x8"
    policy: str = "plain"
    profile: str = USUAL
    queues: int = 1
    ring: int = 1024
    config: str = "default"

    def __str__(self):
        return "-".join(str(value) for value in asdict(self).values())

    @property
    def place(self):
        """Name without the preset."""
        return str(self).removesuffix(f"-{self.config}")

    def bound(self, config, *, mps, mrrs):
        """The smallest of link, bus, tags and ring, for this row's policy. The round trip is the profile's median, and
        a packet stays in the ring for three of them: descriptor, data, and used descriptor with what follows."""
        policy, link = POLICIES[self.policy].cost, Link(self.link, mps=mps)
        trip = PROFILES[self.profile].median
        return bound(link, self.direction, self.frame - FCS, policy=policy, mrrs=mrrs, width=config.width,
                     tags=config.tags, round_trip=trip, ring=self.ring, residence=3 * trip, queues=self.queues,
                     segments_of=POLICIES[self.policy].segments_of(self.frame - FCS))

    @property
    def patience(self):
        """How many times longer than others it is measured: rare reads are slow, and where each stops one queue of many
        it takes many of them for a mean; and while each of many queues has had a few turns, all of their caches have
        been filled and emptied; and few long packets are not many; and of both ways at once one gains on the other, by
        as many packets as driver and card hold, until that is full."""
        slow = (50 if self.queues > 1 else 5) if self.profile == "e3-tail" else 1
        return max(slow, 3 if self.group in ("segments", "scaling") else 1, self.queues // 16, self._ways_gain)

    @property
    def _ways_gain(self):
        return 5 if self.direction == "both" else 1

    def window(self, config, window_ns):
        """How long it is measured, in ns, so that the window has `WINDOW_PACKETS` at least; as much longer both ways at
        once."""
        segments = POLICIES[self.policy].segments_of(self.frame - FCS) or [self.frame]
        packets = WINDOW_PACKETS * self._ways_gain / len(segments)
        at_bound = packets * 1e3 / self.bound(config, mps=256, mrrs=512).mpps
        return round(max(self.patience * window_ns, at_bound))

    def warm_up(self, config, least_ns):
        """How long before it is measured, in ns. Descriptors are read ahead, until the caches are full, one queue's
        soon, but of many queues only after a while: until then all that they hold goes through twice, at the bound."""
        if self.queues == 1:
            return round(least_ns)
        cached = self.queues * min(self.ring, config.cache_descriptors)
        return round(max(least_ns, 2 * cached * 1e3 / self.bound(config, mps=256, mrrs=512).mpps))

    @property
    def base(self):
        """Name, without its preset, of the row whose rate this one's is compared with: one queue, the usual host, or no
        offloads; None if there is none."""
        match self.group:
            case "queues" if self.queues > 1:
                return replace(self, queues=1, ring=1024).place
            case "tolerance" | "profiles" if self.profile != USUAL and (self.queues > 1 or self.group == "tolerance"):
                return replace(self, profile=USUAL).place
            case "offloads":
                return replace(self, group="sizes", policy="plain").place
            case "scaling":
                return replace(self, group="queues", policy="plain").place
        return None

    @property
    def has_ideal(self):
        return self.group == "profiles" and self.queues == 1 and self.frame == 64

    def ideal(self, config, trips, first, packets):
        """Mpps of an ideal device that delivers in order, with this one's tags and descriptor window, and the same
        `trips` of its reads; for the `packets` packets behind the `first` ones."""
        return in_order_mpps(self.direction, self.frame - FCS, fetches=trips["ring"], data=trips["tx"],
                             per_byte=PROFILES[self.profile].per_byte, first=first, packets=packets, link=self.link,
                             tags=config.tags, window=config.cache_descriptors, policy=POLICIES[self.policy].cost)

    def formula(self, *, mps, mrrs):
        """(upstream, downstream) bytes per packet."""
        return Traffic(self.direction, self.frame - FCS, POLICIES[self.policy].cost, mps=mps, mrrs=mrrs).bytes()

    def formula_seen(self, sent, received, pcie, *, mps, mrrs):
        """(upstream, downstream) bytes of so many packets out and in, for the batches that were counted in `pcie`."""
        cost, total = POLICIES[self.policy].cost, sent + received

        def per(count):
            return total / count if count else inf
        policy = cost.with_(fetch=max(1, pcie["descriptors_per_fetch"]), used=max(1, pcie["used_per_write"]),
                            doorbell=per(pcie["doorbells"]), message=per(pcie["messages"]),
                            event=per(pcie["up"].get("read event", {"tlps": 0})["tlps"]))
        up = down = 0
        for direction, count in (("tx", sent), ("rx", received)):
            if count:
                each = Traffic(direction, self.frame - FCS, policy, mps=mps, mrrs=mrrs).bytes()
                up, down = up + count * each[0], down + count * each[1]
        return up, down


@dataclass(frozen=True)
class Target:
    """A figure of a row, by its name in the results, and the least that will do."""
    figure: str
    least: float

    def __str__(self):
        return f"{self.figure} ≥ {self.least:g}"

    def is_missed(self, measured):
        """`measured`: figures of the row. One that is not there, for want of another row, misses nothing."""
        return measured.get(self.figure) is not None and measured[self.figure] < self.least


# (group, values of the fields that are meant, target)
TARGETS = (
    ("sizes", {"policy": ("plain", "notification"), "frame": (64,)}, Target("ratio", 0.90)),
    ("sizes", {"policy": ("plain", "notification"), "frame": (65, 128, 256)}, Target("ratio", 0.93)),
    ("sizes", {"policy": ("plain", "notification"), "frame": (512, 1024, 1518, 9018)}, Target("ratio", 0.97)),
    ("sizes", {"policy": ("in-order", "indirect")}, Target("ratio", 0.90)),
    ("queues", {}, Target("fairness", 0.99)),
    ("queues", {}, Target("of_base", 0.95)),
    ("profiles", {"profile": ("e3-tail",), "queues": (32,)}, Target("of_base", 0.80)),
    ("profiles", {"profile": ("e3-tail",), "queues": (1,)}, Target("of_ideal", 0.90)),
    ("tolerance", {"policy": ("plain", "notification"), "profile": ("1us",)}, Target("of_base", 0.95)),
    ("tolerance", {"policy": ("plain", "notification"), "profile": ("2us",)}, Target("of_base", 0.90)),
    ("tolerance", {"policy": ("in-order", "indirect")}, Target("ratio", 0.90)),
    ("interrupts", {}, Target("packets_per_message", 64)),
    ("offloads", {"policy": ("offloads",)}, Target("of_base", 0.98)),
    ("offloads", {"policy": ("hashes",)}, Target("ratio_of_base", 0.98)),
    ("segments", {}, Target("ratio", 0.97)),
    ("scaling", {}, Target("fairness", 0.99)),
)


def targets(row):
    """Targets of a row."""
    return [target for group, fields, target in TARGETS
            if group == row.group and all(getattr(row, name) in values for name, values in fields.items())]


def rows(*, quick=False, config="default"):
    """Every row of a full run, or of a quick one, in the order in which they are printed. `config` is the preset of
    those rows that don't need as many queues as only the largest has."""
    found = _rows(quick)
    return [replace(row, config=config) if row.config == "default" else row for row in found]


def _rows(quick):
    idle = [Row(group="latency", direction="both", policy=policy) for policy in ("plain", "indirect")]
    if quick:
        return [Row(group="sizes", direction=direction) for direction in DIRECTIONS] + idle[:1]
    found = [Row(group="sizes", direction=direction, frame=frame, link=link, policy=policy)
             for link, policy, frame, direction in product(("gen3x8", "gen3x16"), POLLED, FRAMES, DIRECTIONS)]
    found += [Row(group="queues", direction=direction, queues=queues, config="default" if queues <= 8 else "full",
                  ring=1024 if queues <= 8 else 256)
              for queues, direction in product((1, 8, 64, 128), DIRECTIONS)]
    found += [Row(group="interrupts", direction=direction, policy="coalesced") for direction in DIRECTIONS]
    found += [Row(group="profiles", direction=direction, profile=profile)
              for profile, direction in product((USUAL, "e5-dram", "iommu-4k", "e3-tail"), DIRECTIONS)]
    found += [Row(group="profiles", direction=direction, frame=1518, link=link, profile="e3-tail")
              for link, direction in product(("gen3x8", "gen3x16"), DIRECTIONS)]
    found += [Row(group="profiles", direction=direction, profile=profile, queues=32, config="full", ring=256)
              for profile, direction in product((USUAL, "e3-tail"), DIRECTIONS)]
    found += [Row(group="tolerance", direction=direction, policy=policy, profile=profile)
              for policy, profile, direction in product(POLLED, (USUAL, "1us", "2us"), DIRECTIONS)]
    found += [Row(group="offloads", direction=direction, frame=frame, link=link, policy=policy)
              for link, policy, frame, direction in product(
                  ("gen3x8", "gen3x16"), ("offloads", "hashes"), (64, 1518), DIRECTIONS)]
    found += [Row(group="segments", direction="tx", frame=LONGEST, link=link, policy=policy, ring=64)
              for link, policy in product(("gen3x8", "gen3x16", "gen4x16"), ("tso4", "tso6", "uso"))]
    found += [Row(group="scaling", direction="rx", policy="scaling", queues=8)]
    return found + idle
