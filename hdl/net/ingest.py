"""From the wire into the frame buffer: judging frames as they arrive."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..stream import PacketBeat
from ..stream.axis import bytes_of_keep, keep_has_holes
from ..taps import tap
from .spec import ETHERNET_HEADER_BYTES, VLAN_TAG_BYTES, is_vlan_tag

__all__ = ["DROP_CAUSES", "Ingest"]


# Causes for which an arriving frame is dropped; the first that applies is the one that is counted.
DROP_CAUSES = ("disabled", "bad", "runt", "oversize", "overflow")

TYPE_AT = 12           # byte of a frame where its EtherType, or a VLAN tag, begins
SECOND_TYPE_AT = TYPE_AT + VLAN_TAG_BYTES


class Ingest(wiring.Component):
    """Writes arriving frames to a frame buffer, commits the good ones and takes the others back.

    A beat is written the cycle after it came. A frame is dropped whole, and counted once, if the device was not live
    when it began (disabled), the MAC marked it or its `tkeep` is wrong (bad), it is shorter than an Ethernet header
    (runt), longer than `mtu` + 14 bytes and 4 per VLAN tag for up to two tags (oversize), or there was no room
    (overflow). What will be dropped takes no more room from that beat on.

    Parameters
    ----------
    width : int
        bits per beat
    max_mtu : int
        largest `mtu` that is respected

    Attributes
    ----------
    tdata, tkeep, tvalid, tlast, tuser : In; tready : Out(1)
        AXI4-Stream; `tready` is 1 whenever out of reset
    mtu : In(16)
    live : In(1)
        frames that begin while 0 are dropped
    flush : In(1)
        frames that are under way or begin while 1 are dropped
    full : In(1)
        the frame buffer takes no more rows
    row : Out(PacketBeat(width)); seen : Out(1)
        the beat that came a cycle ago; there was one, whether it is written or not
    write, commit, abort : Out(1)
        with `row` to the `FrameBuffer`
    bytes : Out(17)
        with `commit`: bytes of the frame
    lost : Out(1)
        with `seen` and the last row: the frame is dropped though the device is live
    dropped_disabled, dropped_bad, dropped_runt, dropped_oversize, dropped_overflow : Out(1)
        pulses
    """

    def __init__(self, width, max_mtu):
        self.width = width
        self.max_mtu = max_mtu
        super().__init__({
            "tdata": In(width), "tkeep": In(width // 8), "tvalid": In(1), "tlast": In(1), "tuser": In(1),
            "tready": Out(1),
            "mtu": In(16), "live": In(1), "flush": In(1), "full": In(1),
            "row": Out(PacketBeat(width)), "seen": Out(1),
            "write": Out(1), "commit": Out(1), "abort": Out(1), "bytes": Out(17), "lost": Out(1),
            **{f"dropped_{cause}": Out(1) for cause in DROP_CAUSES},
        })
        self._lanes = width // 8

    def elaborate(self, platform):
        m = Module()
        beat = Signal(data.StructLayout({"data": self.width, "bytes": range(self._lanes + 1), "last": 1, "bad": 1,
                                         "tag": 1, "second_tag": 1}))
        valid = Signal()
        self._decode(m, beat, valid)
        inside = Signal()    # a frame has begun and not ended
        limit = self._limit(m, beat, valid, inside)

        # What has been found of the frame so far; `now` adds the beat at hand.
        length = Signal(17)
        found = {cause: Signal(name=f"found_{cause}") for cause in DROP_CAUSES}
        m.d.comb += self.bytes.eq(Mux(inside, length, 0) + beat.bytes)
        now = {
            "disabled": Mux(inside, found["disabled"], ~self.live) | self.flush,
            "bad": (inside & found["bad"]) | beat.bad,
            "runt": beat.last & (self.bytes < ETHERNET_HEADER_BYTES),
            "oversize": (inside & found["oversize"]) | (self.bytes > limit),
            "overflow": (inside & found["overflow"]) | self.full,
        }
        drop = Signal()
        m.d.comb += [
            drop.eq(Cat(now.values()).any()),
            self.seen.eq(valid),
            self.write.eq(valid & ~drop),
            self.commit.eq(valid & ~drop & beat.last),
            self.abort.eq(valid & drop),
            self.lost.eq(drop & ~now["disabled"]),
            self.row.data.eq(beat.data), self.row.bytes.eq(beat.bytes),
            self.row.first.eq(~inside), self.row.last.eq(beat.last),
        ]
        with m.If(valid):
            m.d.sync += [inside.eq(~beat.last), length.eq(self.bytes)]
            m.d.sync += [found[cause].eq(now[cause]) for cause in DROP_CAUSES]
        with m.If(self.flush):
            # Also in a pause of the frame.
            m.d.sync += found["disabled"].eq(1)
        earlier = C(0)
        for cause in DROP_CAUSES:
            m.d.sync += getattr(self, f"dropped_{cause}").eq(valid & beat.last & now[cause] & ~earlier)
            earlier = earlier | now[cause]
        tap(m, "rx.ended", valid & beat.last, kept=~drop, bytes=self.bytes)
        return m

    def _decode(self, m, beat, valid):
        """First cycle: what the beat's signals say, apart from the frame that it belongs to."""
        def byte(n):
            return self.tdata.word_select(n % self._lanes, 8)
        m.d.sync += [
            self.tready.eq(1),
            valid.eq(self.tvalid & self.tready),
            beat.data.eq(self.tdata),
            beat.bytes.eq(Mux(self.tlast, bytes_of_keep(self.tkeep), self._lanes)),
            beat.last.eq(self.tlast),
            beat.bad.eq(Mux(self.tlast, self.tuser | keep_has_holes(self.tkeep), ~self.tkeep.all())),
            beat.tag.eq(is_vlan_tag(byte(TYPE_AT), byte(TYPE_AT + 1))),
            beat.second_tag.eq(is_vlan_tag(byte(SECOND_TYPE_AT), byte(SECOND_TYPE_AT + 1))),
        ]

    def _limit(self, m, beat, valid, inside):
        """Longest frame, by the tags of the frame; known when 68 bytes, the smallest mtu, have come."""
        mtu = Signal(16)
        m.d.sync += mtu.eq(Mux(self.mtu > self.max_mtu, self.max_mtu, self.mtu))
        limits = [Signal(17, name=f"limit_{tags}_tags") for tags in range(3)]
        m.d.sync += [limits[tags].eq(mtu + ETHERNET_HEADER_BYTES + VLAN_TAG_BYTES * tags) for tags in range(3)]
        tagged, twice, second = Signal(), Signal(), Signal()
        with m.If(valid):
            m.d.sync += second.eq(~inside)
            with m.If(~inside):
                m.d.sync += [tagged.eq(beat.tag), twice.eq(beat.tag & beat.second_tag
                                                           if SECOND_TYPE_AT < self._lanes else 0)]
            if SECOND_TYPE_AT >= self._lanes:
                with m.Elif(second):
                    m.d.sync += twice.eq(tagged & beat.second_tag)
        return Mux(twice, limits[2], Mux(tagged, limits[1], limits[0]))
