"""What the performance model is told: the card, the host, and the traffic.

Names are those of the hardware's configuration, of `model.latency` and of `model.link`. The card may be given as any
object or mapping that has these names; what else it has is of no concern.
"""

from dataclasses import dataclass, field, fields, replace

from model.latency import PROFILES, Profile
from model.link import LINKS, Link

from .cycle.state import MOST_ENTRIES, MOST_LENGTHS, MOST_QUEUES, MOST_RING, MOST_TAGS

__all__ = ["Card", "Host", "ParameterError", "Pattern", "Scenario"]

DIRECTIONS = ("tx", "rx", "both")
DOORBELL = 32       # packets per doorbell of a driver that keeps its rings full


class ParameterError(ValueError):
    """A parameter that doesn't exist or can't be modelled; the message is one line."""


def _check(condition, message):
    if not condition:
        raise ParameterError(message)


@dataclass(frozen=True, kw_only=True)
class Card:
    """Parameters of the card that cost or save time."""
    width: int = 512
    cache_descriptors: int = 256
    cache_elements: int = 256
    fetch_batch: int = 16
    used_batch: int = 16
    used_timeout: int = 256
    used_bytes: int = 8192
    tags: int = 256
    read_bytes: int = 512
    reserved_tags: int = 16
    tx_buffer: int = 32768
    rx_buffer: int = 65536
    clock_hz: int = 250_000_000

    def __post_init__(self):
        _check(self.width in (128, 256, 512, 1024), f"width must be 128, 256, 512 or 1024, not {self.width!r}")
        for name in ("cache_descriptors", "cache_elements", "fetch_batch", "used_batch"):
            value = getattr(self, name)
            _check(isinstance(value, int) and value > 0 and value & (value - 1) == 0,
                   f"{name} must be a power of 2, not {value!r}")
        _check(self.fetch_batch * 2 <= min(self.cache_descriptors, self.cache_elements),
               f"fetch_batch of {self.fetch_batch!r} must be at most half of either cache")
        for name, most in (("cache_descriptors", MOST_ENTRIES), ("cache_elements", MOST_ENTRIES), ("tags", MOST_TAGS)):
            _check(getattr(self, name) <= most, f"{name} must be at most {most}, not {getattr(self, name)!r}")
        _check(self.read_bytes in (128, 256, 512, 1024), f"read_bytes must be 128 to 1024, not {self.read_bytes!r}")
        _check(0 < self.reserved_tags < self.tags, f"reserved_tags must be fewer than tags, not {self.reserved_tags!r}")
        _check(self.clock_hz > 0, f"clock_hz must be above 0, not {self.clock_hz!r}")

    @classmethod
    def of(cls, source):
        """From an object or a mapping that has these fields, and maybe more."""
        known = source if isinstance(source, dict) else vars(source)
        return cls(**{name: known[name] for name in cls.names() if name in known})

    @classmethod
    def names(cls):
        return [entry.name for entry in fields(cls)]

    @property
    def bytes_per_beat(self):
        return self.width // 8

    @property
    def cycle_ns(self):
        return 1e9 / self.clock_hz


@dataclass(frozen=True, kw_only=True)
class Host:
    """`profile` is a name of `PROFILES`, or a Profile; `max_payload`, `max_read_request` of Device Control."""
    link: str = "gen3x8"
    profile: str | Profile = "e5-warm"
    max_payload: int = 256
    max_read_request: int = 512

    def __post_init__(self):
        _check(self.link in LINKS, f"unknown link {self.link!r}; there are: {', '.join(LINKS)}")
        _check(isinstance(self.profile, Profile) or self.profile in PROFILES,
               f"unknown latency profile {self.profile!r}; there are: {', '.join(PROFILES)}")

    @property
    def latency(self):
        return self.profile if isinstance(self.profile, Profile) else PROFILES[self.profile]

    @property
    def bytes_per_ns(self):
        return Link(self.link, mps=self.max_payload).spec / 8


@dataclass(frozen=True, kw_only=True)
class Pattern:
    """Traffic, and how the driver deals with it.

    Parameters
    ----------
    direction : "tx", "rx" or "both"
        "both" is as many packets out as in, neither far ahead of the other
    lengths : tuple of int
        bytes of the frames without FCS, in turn
    queues, ring : int
        queue pairs, used in turn; descriptors of each ring
    burst : int
        packets that are made available with one doorbell, a quarter of the ring at most; 0 for `DOORBELL`
    gap_ns : float
        a burst is offered so often on each queue; 0 offers as much as the rings hold
    begin : int
        packets that were transmitted on each queue before; looks at rings end with multiples of their largest size
    times_ns : tuple of float
        of a capture: when each packet is offered, in place of `gap_ns`
    tx_rings, rx_rings : tuple of int
        byte addresses of the rings modulo a page, one for each queue; those that are missing begin a page
    notification_data, in_order, indirect : bool
        features that driver and card have agreed upon; `indirect`: the header in a descriptor of its own, both in a
        table
    """
    direction: str = "tx"
    lengths: tuple = (60,)
    queues: int = 1
    ring: int = 1024
    burst: int = 0
    gap_ns: float = 0.0
    begin: int = 0
    times_ns: tuple = ()
    tx_rings: tuple = ()
    rx_rings: tuple = ()
    notification_data: bool = False
    in_order: bool = False
    indirect: bool = False

    def __post_init__(self):
        _check(self.direction in DIRECTIONS, f"direction must be tx, rx or both, not {self.direction!r}")
        _check(self.lengths and all(14 <= length <= 9238 for length in self.lengths),
               f"lengths must be 14 to 9238 bytes, not {self.lengths!r}")
        _check(1 <= self.queues <= MOST_QUEUES, f"queues must be 1 to {MOST_QUEUES}, not {self.queues!r}")
        _check(64 <= self.ring <= MOST_RING and self.ring & (self.ring - 1) == 0,
               f"ring must be a power of 2 from 64 to {MOST_RING}, not {self.ring!r}")
        for name in ("lengths", "times_ns"):
            _check(len(getattr(self, name)) <= MOST_LENGTHS,
                   f"{name} must be at most {MOST_LENGTHS}, not {len(getattr(self, name))}")
        _check(0 <= self.begin <= self.ring, f"begin must be between 0 and the ring's size, not {self.begin!r}")
        _check(self.gap_ns >= 0, f"gap_ns must not be below 0, not {self.gap_ns!r}")
        _check(0 <= self.burst <= self.ring // 4, f"burst must be 0 to a quarter of the ring, not {self.burst!r}")

    def rings(self, direction):
        """Addresses of all rings of "tx" or "rx"."""
        known = self.tx_rings if direction == "tx" else self.rx_rings
        return [*known, *[0] * (self.queues - len(known))]

    @property
    def doorbell(self):
        return self.burst or min(DOORBELL, self.ring // 4)

    @property
    def saturated(self):
        return not self.gap_ns and not self.times_ns


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One configuration to be answered for. `seed` of the host's latencies."""
    card: Card = field(default_factory=Card)
    host: Host = field(default_factory=Host)
    pattern: Pattern = field(default_factory=Pattern)
    seed: int = 1

    def with_(self, **changes):
        return replace(self, **changes)
