"""The streams at the card's ports: TLPs on `cq`, `cc`, `rq`, `rc`, frames on `eth_tx` and `eth_rx` (AXI4-Stream)."""

from dataclasses import dataclass

from testbench.bfm.stream_base import StreamError, StreamMonitor, StreamSink, StreamSource, fill_unused
from testbench.bfm.tlp import TlpAssembler, to_beats

__all__ = ["EthMonitor", "EthSink", "EthSource", "Frame", "TlpMonitor", "TlpSink", "TlpSource"]

TLP_SIGNALS = ["valid", "ready", "first", "last", "header", "data", "keep"]
TLP_PAYLOAD = ["first", "last", "header", "keep", "data"]


class TlpMonitor(StreamMonitor):
    """Transactions are `Tlp`s."""

    _signals, _payload = TLP_SIGNALS, TLP_PAYLOAD

    def __init__(self, entity, name, clock, loop, **options):
        super().__init__(entity, name, clock, loop, **options)
        self._assembler = TlpAssembler(len(self.bus.data))

    def _beat(self, cycle, *beat):
        try:
            tlp = self._assembler.push(*beat)
        except AssertionError as error:
            raise StreamError(f"{self.name} at cycle {cycle}: {error}") from None
        if tlp is not None:
            self._recv(tlp)

    @property
    def busy(self):
        """A TLP has begun and not ended, or waits for `ready`."""
        return self._was_valid or self._assembler.inside

    def _sample(self, cycle):
        """Header and data are read only where they are valid."""
        (_, first), (_, last), (_, header), (_, keep), (_, data) = self._readers
        try:
            begins, kept = int(first(), 2), int(keep(), 2)
            return [begins, int(last(), 2), int(header(), 2) if begins else 0, kept, int(data(), 2) if kept else 0]
        except ValueError:
            return super()._sample(cycle)

    def clear(self):
        super().clear()
        self._assembler = TlpAssembler(len(self.bus.data))


class TlpSink(TlpMonitor, StreamSink):
    pass


class TlpSource(StreamSource):
    """Transactions are `Tlp`s. `supply` and appended ones are sent without bubbles."""

    _signals, _payload = TLP_SIGNALS, TLP_PAYLOAD

    def __init__(self, entity, name, clock, loop, **options):
        super().__init__(entity, name, clock, loop, **options)
        self._width = len(self.bus.data)

    def _make_beats(self, tlp):
        width = self._width
        for first, last, header, keep, data in to_beats(tlp, width):
            yield first, last, header if first else None, keep, fill_unused(data, 32 * keep.bit_length(), width)


@dataclass(slots=True)
class Frame:
    """`first`, `last`: cycles in which its ends were transferred. `bad`: marked so (`tuser` on the last beat)."""
    data: bytes
    bad: bool = False
    first: int = 0
    last: int = 0


class EthMonitor(StreamMonitor):
    """Transactions are `Frame`s. `tvalid` must stay high within a frame, since a MAC can't wait."""

    _signals = ["tdata", "tkeep", "tvalid", "tready", "tlast"]
    _optional_signals = ["tuser"]
    _payload = ["tlast", "tkeep", "tdata"]
    _valid, _ready = "tvalid", "tready"

    def __init__(self, entity, name, clock, loop, *, continuous=True, **options):
        super().__init__(entity, name, clock, loop, **options)
        self.continuous = continuous
        self._bytes = len(self.bus.tkeep)
        self._full = (1 << self._bytes) - 1
        self._user = self.bus.tuser if hasattr(self.bus, "tuser") else None
        self._parts = []
        self._first = 0

    def _gap(self, cycle):
        self._demand(not (self._parts and self.continuous), cycle, "tvalid fell inside a frame")

    def _beat(self, cycle, last, keep, data):
        self._demand(keep and not keep & keep + 1, cycle, f"tkeep {keep:#x} is not contiguous from bit 0")
        self._demand(last or keep == self._full, cycle, f"tkeep {keep:#x} is partial before the last beat")
        if not self._parts:
            self._first = cycle
        self._parts.append(data.to_bytes(self._bytes, "little")[:keep.bit_length()])
        if last:
            bad = self._user is not None and bool(self._user.value)
            parts, self._parts = self._parts, []
            self._recv(Frame(b"".join(parts), bad, self._first, cycle))

    def clear(self):
        super().clear()
        self._parts = []


class EthSink(EthMonitor, StreamSink):
    pass


class EthSource(StreamSource):
    """Transactions are `Frame`s. With `always_ready`, a 0 on `tready` is an error."""

    _signals = ["tdata", "tkeep", "tvalid", "tready", "tlast", "tuser"]
    _payload = ["tlast", "tuser", "tkeep", "tdata"]
    _valid, _ready = "tvalid", "tready"

    def __init__(self, entity, name, clock, loop, *, always_ready=False, **options):
        super().__init__(entity, name, clock, loop, **options)
        self.always_ready = always_ready
        self._bytes = len(self.bus.tkeep)

    def _make_beats(self, frame):
        step = self._bytes
        for at in range(0, len(frame.data), step):
            part = frame.data[at:at + step]
            last = int(at + step >= len(frame.data))
            data = fill_unused(int.from_bytes(part, "little"), 8 * len(part), 8 * step)
            yield last, int(frame.bad and last), (1 << len(part)) - 1, data

    def _refused(self, cycle):
        if self.always_ready:
            raise StreamError(f"{self.name} at cycle {cycle}: tready is 0")
