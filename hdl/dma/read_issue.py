"""Read requests get their tags and leave for the link."""

from amaranth import *
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from hdl.pcie.spec import MemoryRequest, TlpType
from hdl.pcie.tags import TAGS_WITHOUT_EXTENDED
from hdl.stream import Queue, RegisterSlice, TlpBeat

from .read_records import GROUP, READ_CLIENTS, ReadOpened, ReadRequest, ReadRetired
from .read_window import ReadWindow
from .spec import ReadStatus

__all__ = ["ReadIssue", "read_header"]


_UNSENT_DEPTH = 4


def read_header(address, dwords, length, tag):
    """128-bit header of a memory read of `length` bytes (not 0), in `dwords` DWs, from byte `address` on."""
    header = Signal(MemoryRequest(), name="read_header")
    first, end = address[:2], Signal(2, name="end")
    four_dw, high, low = MemoryRequest.place_address(Cat(C(0, 2), address[2:]))
    until = Signal(4, name="until")     # byte enables up to the end, in the last DW
    alone = dwords == 1
    from_first = Signal(4, name="from_first")
    statements = [
        end.eq(first + length[:2]),
        until.eq(Mux(end == 0, 0b1111, (1 << end) - 1)),
        from_first.eq(0b1111 << first),
        header.type.eq(TlpType.MEMORY), header.length.eq(dwords), header.tag.eq(tag),
        header.four_dw.eq(four_dw), header.high.eq(high), header.low.eq(low),
        header.first_be.eq(from_first & Mux(alone, until, 0b1111)),
        header.last_be.eq(Mux(alone, 0, until)),
    ]
    return header, statements


class ReadIssue(wiring.Component):
    """Takes a tag for each request, one request a cycle, and tells the other stages.

    `prompt` goes before `bulk`, which leaves the reserved tags alone: `reserved_tags`, or 8 if that is less and tags
    are few because Extended Tag Field Enable is 0. While `discard`, requests take their tags but are not sent. Neither
    are those of no bytes.

    `bulk` also waits while the `ReadWindow` isn't open.

    A packet that `bulk` reads in several transactions is a group, and so is what comes between two such packets; when
    all numbers of groups are in use, `bulk` waits for the oldest group to be delivered.

    From `prompt`, `bulk` to `requests` and `opened`: 1 cycle.

    Parameters
    ----------
    config : NicConfig

    Attributes
    ----------
    prompt, bulk : streams of `ReadRequest`, in
    discard : In(1)
    extended : In(1)
        Extended Tag Field Enable
    usable, tag : In; take : Out(1)
        of `TagPool`
    initialise, index : In
    group : In(GROUP)
        group that is being delivered
    retired : stream of `ReadRetired`, in, always ready
    requests : stream of `TlpBeat`, out
    opened : stream of `ReadOpened`, out, always ready
    unsent : stream of {tag, status}, out
    """

    def __init__(self, config):
        self.config = config
        request = ReadRequest(config.pair_bits, config.read_bytes)
        super().__init__({
            "prompt": In(stream.Signature(request)), "bulk": In(stream.Signature(request)),
            "discard": In(1), "extended": In(1),
            "usable": In(range(config.tags + 1)), "tag": In(config.tag_bits), "take": Out(1),
            "initialise": In(1), "index": In(config.tag_bits),
            "group": In(GROUP),
            "retired": In(stream.Signature(ReadRetired(config.tag_bits), always_ready=True)),
            "requests": Out(stream.Signature(TlpBeat(config.width))),
            "opened": Out(stream.Signature(ReadOpened(config), always_ready=True)),
            "unsent": Out(stream.Signature(data.StructLayout({"tag": config.tag_bits, "status": ReadStatus}))),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.out_slice = out = RegisterSlice(TlpBeat(self.config.width))
        m.submodules.unsent = unsent = Queue(self.unsent.payload.shape(), _UNSENT_DEPTH + 2)
        request = Signal(self.prompt.payload.shape())
        sent = Signal()
        m.submodules.window = self._window = window = ReadWindow(
            self.config.tag_bits, self.config.read_bytes, self.config.tags * self.config.read_bytes)
        m.d.comb += [
            window.taken.valid.eq(self.take), window.taken.tag.eq(self.tag), window.taken.length.eq(request.length),
            window.taken.bulk.eq(~self.prompt.valid),
            window.retired.valid.eq(self.retired.valid), window.retired.tag.eq(self.retired.payload.tag),
            window.retired.sent.eq(self.retired.payload.sent),
        ]
        self._choose(m, request, sent, out.i.ready, unsent.level < _UNSENT_DEPTH)

        dwords = Signal(range(self.config.read_bytes // 4 + 1))
        header, statements = read_header(request.address, dwords, request.length, self.tag)
        m.d.comb += [
            *statements,
            dwords.eq((request.address[:2] + request.length + 3) >> 2),
            out.i.payload.first.eq(1), out.i.payload.last.eq(1), out.i.payload.header.eq(header),
            out.i.valid.eq(self.take & sent),
        ]
        wiring.connect(m, out.o, wiring.flipped(self.requests))
        self._open(m, request, sent)
        # By way of `opened`, so that nobody hears of its end before its beginning.
        m.d.comb += [
            unsent.i.valid.eq(self.opened.valid & ~self.opened.payload.sent),
            unsent.i.payload.tag.eq(self.opened.payload.tag),
            unsent.i.payload.status.eq(self.opened.payload.unsent),
        ]
        wiring.connect(m, unsent.o, wiring.flipped(self.unsent))
        return m

    def _choose(self, m, request, sent, out_ready, unsent_ready):
        reserved = self.config.reserved_tags
        few = min(reserved, 8)
        scarce = self.config.tags > TAGS_WITHOUT_EXTENDED
        kept = Mux(self.extended, reserved, few) if scarce else C(few)
        last_group = Signal(GROUP)
        within, alone = Signal(), Signal()      # another part of a long packet follows; the packet before was long
        self._group, switch, waits = Signal(GROUP), Signal(), Signal()
        path = Signal()
        m.d.comb += [
            switch.eq(self.bulk.payload.last & ~within & (self.bulk.payload.more | alone)),
            self._group.eq(last_group + switch), waits.eq(switch & (self._group == self.group)),
            request.eq(Mux(self.prompt.valid, self.prompt.payload.as_value(), self.bulk.payload.as_value())),
            sent.eq(~self.discard & (request.length != 0)),
            path.eq(Mux(sent, out_ready, unsent_ready) & ~self.initialise),
            self.prompt.ready.eq(path & (self.usable != 0)),
            self.bulk.ready.eq(path & ~self.prompt.valid & ~waits & (self.usable > kept) & self._window.open),
            self.take.eq((self.prompt.valid & self.prompt.ready) | (self.bulk.valid & self.bulk.ready)),
        ]
        with m.If(self.bulk.valid & self.bulk.ready & request.last):
            m.d.sync += [within.eq(request.more), alone.eq(within | request.more), last_group.eq(self._group)]

    def _open(self, m, request, sent):
        config = self.config
        m.submodules.generations = generations = memory.Memory(shape=1, depth=config.tags, init=[])
        read, write = generations.read_port(domain="comb"), generations.write_port()
        m.d.comb += [
            read.addr.eq(self.tag),
            write.addr.eq(Mux(self.initialise, self.index, self.tag)),
            write.data.eq(~self.initialise & ~read.data),
            write.en.eq(self.initialise | self.take),
        ]
        opened = self.opened.payload
        m.d.sync += [
            self.opened.valid.eq(self.take),
            opened.tag.eq(self.tag), opened.generation.eq(~read.data),
            opened.sent.eq(sent), opened.unsent.eq(Mux(request.length == 0, ReadStatus.OK, ReadStatus.DISCARDED)),
            opened.domain.eq(request.domain), opened.low.eq(request.address), opened.length.eq(request.length),
            opened.last.eq(request.last), opened.context.eq(request.context), opened.group.eq(self._group),
        ]
        self._lay_out(m, request)
        self._count(m, request)

    def _lay_out(self, m, request):
        """Geometry of the slot: from the request's first DW to its last byte."""
        beat = self.config.bytes_per_beat
        bits = beat.bit_length() - 1
        geometry = self.opened.payload.geometry
        end = Signal(range(self.config.read_bytes + 4))
        m.d.comb += end.eq(request.address[:2] + request.length - 1)
        with m.If(request.length == 0):
            m.d.sync += geometry.eq(0)
        with m.Else():
            m.d.sync += [
                geometry.offset.eq(request.address[:2]),
                geometry.last_row.eq(end >> bits), geometry.top.eq(end[:bits] + 1),
            ]

    def _count(self, m, request):
        """First tag and bytes of each client's open transaction."""
        beat = self.config.bytes_per_beat
        bits = beat.bit_length() - 1
        tracker = data.StructLayout({"open": 1, "first": self.config.tag_bits,
                                     "bytes": range(self.config.tags * self.config.read_bytes + 1)})
        opened = self.opened.payload
        total = Signal(tracker["bytes"].shape)
        with m.Switch(request.domain.client):
            for row in READ_CLIENTS:
                with m.Case(row.client):
                    mine = Signal(tracker, name=row.name)
                    bytes_now = Signal.like(total, name=f"{row.name}_bytes_now")
                    first = Mux(mine.open, mine.first, self.tag)
                    m.d.comb += bytes_now.eq(Mux(mine.open, mine.bytes, 0) + request.length)
                    m.d.sync += [total.eq(bytes_now), opened.first.eq(first)]
                    with m.If(self.take):
                        m.d.sync += [mine.open.eq(~request.last), mine.first.eq(first), mine.bytes.eq(bytes_now)]
        m.d.comb += opened.beats.eq(((total + (beat - 1)) >> bits) | (total == 0))
