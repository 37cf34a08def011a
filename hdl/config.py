"""Configuration of the card: every parameter, its presets, and all checks.

A block never takes a `NicConfig`'s fields on trust of their combination: they are checked once, here, and a block
gets only the values that it needs.
"""

import math
from dataclasses import dataclass, field, fields, replace

__all__ = ["ConfigError", "HASH_TYPES", "KEY_BYTES", "NicConfig", "PART_REQUESTS", "PRESETS", "TABLE_ENTRIES"]


# Receive side scaling: bytes of the key and entries of the indirection table, the least that VIRTIO 1.4 allows a device
# (section "Device configuration layout"), and hash types that there are.
KEY_BYTES, TABLE_ENTRIES, HASH_TYPES = 40, 128, 9

# Read requests of a transaction, at most. More gain nothing: this many hold the largest frame in requests of 512 bytes.
PART_REQUESTS = 24


class ConfigError(ValueError):
    """A parameter, or a combination of parameters, that the hardware can't be built with."""


def _is_power_of_2(value):
    return value > 0 and value & (value - 1) == 0


def _parameter(default, help):
    return field(default=default, metadata={"help": help})


@dataclass(frozen=True, kw_only=True)
class NicConfig:
    """Parameters of one card. Raises `ConfigError`, with the offending value, when built from impossible ones."""

    name: str = _parameter("default", "name under which builds and reports show this configuration")
    # Bus
    width: int = _parameter(512, "bits per beat of the four TLP streams and of the Ethernet streams: 128, 256 or 512")
    segments: int = _parameter(1, "TLPs that may share a beat; 1 is what is built today")
    # Queues
    pairs: int = _parameter(8, "receive/transmit queue pairs")
    queue_size_max: int = _parameter(1024, "largest ring, in descriptors; what queue_size reads after reset")
    page: int = _parameter(4096, "distance of two doorbells in bytes (notify_off_multiplier)")
    # Descriptors
    cache_descriptors: int = _parameter(256, "descriptors cached per queue")
    cache_elements: int = _parameter(256, "elements of buffers cached per queue, behind the reading of indirect tables")
    fetch_batch: int = _parameter(16, "most descriptors in one fetch; a fetch is one read request")
    used_batch: int = _parameter(16, "most used descriptors in one write")
    used_timeout: int = _parameter(4096, "cycles after which a used descriptor no longer waits for others")
    used_bytes: int = _parameter(8192, "bytes received with which a used descriptor no longer waits for others")
    # Reads
    tags: int = _parameter(256, "reads outstanding at once; the most that PCIe gives without 10-bit tags is 256")
    read_bytes: int = _parameter(512, "most bytes of one read request; Max_Read_Request_Size may lower it")
    reserved_tags: int = _parameter(16, "tags that data reads leave to descriptor and event reads")
    # Frames
    max_mtu: int = _parameter(9000, "largest mtu the frame buffers are built for")
    tx_buffer: int = _parameter(32768, "bytes of packets between DMA and wire, transmit, and of frames made of them")
    rx_buffer: int = _parameter(65536, "bytes of frames between the wire and the DMA, receive")
    flow_entries: int = _parameter(4096, "flows remembered, so that frames come to the queue pair that sent theirs")
    # Completer
    cq_np_depth: int = _parameter(32, "non-posted requests that may wait inside while cc is stalled")
    clock_hz: int = _parameter(250_000_000, "nominal clock, the base of every timer")

    def __post_init__(self):
        def check(condition, message):
            if not condition:
                raise ConfigError(message)
        check(self.width in (128, 256, 512), f"width must be 128, 256 or 512, not {self.width!r}")
        check(self.segments == 1, f"segments must be 1, not {self.segments!r}: shared beats are not built yet")
        check(1 <= self.pairs <= 256, f"pairs must be 1 to 256, not {self.pairs!r}")
        check(1 <= self.queue_size_max <= 32768, f"queue_size_max must be 1 to 32768, not {self.queue_size_max!r}")
        check(self.page in (4096, 8192, 16384, 32768, 65536),
              f"page must be a power of 2 from 4096 to 65536, not {self.page!r}")
        for name in ("cache_descriptors", "cache_elements"):
            value = getattr(self, name)
            check(_is_power_of_2(value) and 8 <= value <= 1024,
                  f"{name} must be a power of 2 from 8 to 1024, not {value!r}")
        check(_is_power_of_2(self.fetch_batch) and 4 <= self.fetch_batch <= 32,
              f"fetch_batch must be 4, 8, 16 or 32, not {self.fetch_batch!r}")
        for name in ("cache_descriptors", "cache_elements"):
            check(self.fetch_batch <= getattr(self, name) // 2,
                  f"fetch_batch of {self.fetch_batch!r} must be at most half of {name}")
        check(self.fetch_batch * 16 <= self.read_bytes,
              f"fetch_batch of {self.fetch_batch!r} does not fit in read_bytes of {self.read_bytes!r}")
        check(_is_power_of_2(self.used_batch) and 2 <= self.used_batch <= 32,
              f"used_batch must be a power of 2 from 2 to 32, not {self.used_batch!r}")
        check(1 <= self.used_timeout <= 65535, f"used_timeout must be 1 to 65535, not {self.used_timeout!r}")
        check(_is_power_of_2(self.used_bytes) and 256 <= self.used_bytes <= 1 << 20,
              f"used_bytes must be a power of 2 from 256 to 1048576, not {self.used_bytes!r}")
        check(self.tags in (16, 32, 64, 128, 256), f"tags must be a power of 2 from 16 to 256, not {self.tags!r}")
        check(self.read_bytes in (128, 256, 512), f"read_bytes must be 128, 256 or 512, not {self.read_bytes!r}")
        check(4 <= self.reserved_tags <= self.tags // 2,
              f"reserved_tags must be 4 to half of the tags, not {self.reserved_tags!r}")
        check(68 <= self.max_mtu <= 9216, f"max_mtu must be 68 to 9216, not {self.max_mtu!r}")
        for name in ("tx_buffer", "rx_buffer"):
            value = getattr(self, name)
            check(_is_power_of_2(value) and value >= 2 * self.max_frame,
                  f"{name} must be a power of 2 that holds two of the largest frames, not {value!r}")
        check(self.part_bytes + self.max_frame + 16 * self.bytes_per_beat <= self.tx_buffer,
              f"tx_buffer of {self.tx_buffer!r} bytes does not hold the largest frame and a transaction of "
              f"{self.part_bytes!r} bytes besides")
        check(_is_power_of_2(self.flow_entries) and 16 <= self.flow_entries <= 65536,
              f"flow_entries must be a power of 2 from 16 to 65536, not {self.flow_entries!r}")
        check(self.cq_np_depth >= 32, f"cq_np_depth must be at least 32, not {self.cq_np_depth!r}")

    # Derived values, each with its meaning; nothing else computes them again.
    @property
    def bytes_per_beat(self):
        return self.width // 8

    @property
    def dwords_per_beat(self):
        return self.width // 32

    @property
    def queues(self):
        """Virtqueues of the function: receiveq and transmitq of each pair, and the control queue."""
        return 2 * self.pairs + 1

    @property
    def vectors(self):
        """MSI-X table entries: one per queue and one for configuration changes."""
        return self.queues + 1

    @property
    def pair_bits(self):
        """Bits of a queue's local index, the number of its pair, inside one direction's engine."""
        return max(1, math.ceil(math.log2(self.pairs)))

    @property
    def queue_bits(self):
        return max(1, math.ceil(math.log2(self.queues)))

    @property
    def tag_bits(self):
        return int(math.log2(self.tags))

    @property
    def max_frame(self):
        """Largest frame without FCS: mtu, Ethernet header and two VLAN tags."""
        return self.max_mtu + 14 + 8

    @property
    def part_bytes(self):
        """Most bytes of a transaction that reads a packet or a part of one."""
        return min(PART_REQUESTS, self.tags // 4) * self.read_bytes

    def with_(self, **changes):
        return replace(self, **changes)

    @classmethod
    def preset(cls, name):
        if name not in PRESETS:
            raise ConfigError(f"unknown configuration {name!r}; there are: {', '.join(PRESETS)}")
        return PRESETS[name]

    @classmethod
    def parameters(cls):
        """(name, default, help) of every parameter, for manifests and command lines."""
        return [(f.name, f.default, f.metadata["help"]) for f in fields(cls)]


PRESETS = {
    # Small enough for Icarus, and odd enough to hit every limit soon; the largest ring costs nothing here.
    "tiny": NicConfig(name="tiny", width=128, pairs=1, queue_size_max=32768, cache_descriptors=16, cache_elements=16,
                      fetch_batch=8, used_batch=4, used_timeout=64, used_bytes=2048, tags=32, read_bytes=256,
                      reserved_tags=8, max_mtu=2000, tx_buffer=8192, rx_buffer=8192, flow_entries=64),
    "default": NicConfig(),
    "full": NicConfig(name="full", pairs=128, cache_descriptors=64, cache_elements=64),
}
