"""Order domains: which transactions are complete, with all older ones of their domain."""

from amaranth import *
from amaranth.lib import data, fifo, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from .read_records import GENERATION, DomainLayout, ReadOpened, ReadReady, ReadRetired

__all__ = ["OrderLists"]


class OrderLists(wiring.Component):
    """One list of tags per domain, in the order in which they were taken, and a walk along each as its tags retire.

    A domain's *cursor* is its oldest tag that has not been walked over. Only a cursor is *watched*: when a watched tag
    retires, the walk goes on from there over all retired tags, one a cycle, up to the next that is not (it becomes the
    cursor, watched) or the end of the list. Where it walks over the last tag of a transaction, that one is ready.
    So nothing is ever searched or counted, and what another domain waits for costs nothing.

    Flags with several writers are the parity of one bit per writer, each in a memory of its own.

    From `retired` to `ready`: no cycle for a cursor that ends a transaction, if no walk is under way; otherwise 1, and
    the walk's steps.

    Parameters
    ----------
    config : NicConfig

    Attributes
    ----------
    opened, retired : streams of `ReadOpened`, `ReadRetired`, in, always ready
        a tag retires not before the second cycle after it was opened
    initialise, index : In
        while `initialise`, `index` counts through all tags and all domains: every list is empty afterwards
    ready : stream of `ReadReady`, out, always ready
        combinational
    tag : In, following : Out
        the tag after `tag` in its list, in the same cycle; valid if `tag` is not the last of its transaction
    domain, last_tag : In, behind : Out(1)
        a tag has been taken after `last_tag`, which is not yet released, in `domain`
    """

    def __init__(self, config):
        self.config = config
        self.domain_layout = DomainLayout(config.pair_bits)
        domain_bits = self.domain_layout.size
        tag = config.tag_bits
        super().__init__({
            "opened": In(stream.Signature(ReadOpened(config), always_ready=True)),
            "retired": In(stream.Signature(ReadRetired(tag), always_ready=True)),
            "initialise": In(1), "index": In(max(tag, domain_bits)),
            "ready": Out(stream.Signature(ReadReady(config), always_ready=True)),
            "tag": In(tag), "following": Out(tag),
            "domain": In(self.domain_layout), "last_tag": In(tag), "behind": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        self._memories(m)
        self._append(m)
        self._walk(m, *self._retire(m))
        m.d.comb += [
            self.following.eq(self._read(m, self.links, self.tag)),
            self.behind.eq(self._read(m, self.tails, self.domain).tag != self.last_tag),
        ]
        return m

    def _memories(self, m):
        config = self.config
        ready = ReadReady(config).members
        records = {
            # By domain: the newest tag, and parity of "there is a cursor": appender, walker.
            "tails": ({"tag": config.tag_bits, "cursor": 1}, 1 << self.domain_layout.size),
            "emptied": ({"cursor": 1}, 1 << self.domain_layout.size),
            # By tag, written by the appender: the next tag, and what was opened.
            "links": (config.tag_bits, config.tags),
            "tags": ({"generation": GENERATION, "watched": 1, "domain": self.domain_layout, "ends": 1,
                      "first": config.tag_bits, "beats": ready["beats"], "group": ready["group"]}, config.tags),
            # By tag, written by the walker and when it retires.
            "watches": ({"watched": 1}, config.tags),
            "ends": ({"generation": GENERATION, "watched": 1}, config.tags),
        }
        for name, (shape, depth) in records.items():
            shape = data.StructLayout(shape) if isinstance(shape, dict) else shape
            m.submodules[name] = store = memory.Memory(shape=shape, depth=depth, init=[])
            setattr(self, name, store)

    def _write(self, m, store, enable, address, fields):
        """The only writer of `store`: `fields` at `address`, zeros while initialising."""
        port = store.write_port()
        view = port.data
        m.d.comb += [
            port.en.eq(self.initialise | enable),
            port.addr.eq(Mux(self.initialise, self.index, address)),
        ]
        with m.If(~self.initialise):
            m.d.comb += view.eq(fields) if not isinstance(fields, dict) else [
                view[name].eq(value) for name, value in fields.items()]

    def _read(self, m, store, address):
        port = store.read_port(domain="comb")
        m.d.comb += port.addr.eq(address)
        return port.data

    def _append(self, m):
        """Put an opened tag at the end of its domain's list. Where there is no cursor, it is the cursor."""
        opened = self.opened.payload
        tail = self._read(m, self.tails, opened.domain)
        cursor = Signal(name="has_cursor")
        m.d.comb += cursor.eq(tail.cursor ^ self._read(m, self.emptied, opened.domain).cursor)
        watched = self._read(m, self.watches, opened.tag).watched ^ self._read(m, self.ends, opened.tag).watched
        self._write(m, self.tails, self.opened.valid, opened.domain,
                    {"tag": opened.tag, "cursor": tail.cursor ^ ~cursor})
        # The walk follows links from a cursor on; the delivery follows those inside a transaction, whose first tags may
        # have been walked over before the others are opened.
        linked = cursor | (opened.tag != opened.first)
        self._write(m, self.links, self.opened.valid & linked, tail.tag, opened.tag)
        self._write(m, self.tags, self.opened.valid, opened.tag, {
            "generation": opened.generation, "watched": watched ^ ~cursor, "domain": opened.domain,
            "ends": opened.last, "first": opened.first, "beats": opened.beats, "group": opened.group,
        })

    def _retire(self, m):
        """Returns a stream of cursors that have retired: {tag, domain}, and beside it what was opened."""
        retired = self.retired.payload
        record = self._read(m, self.tags, retired.tag)
        own = self._read(m, self.ends, retired.tag).watched
        watched = Signal()
        m.d.comb += watched.eq(record.watched ^ own ^ self._read(m, self.watches, retired.tag).watched)
        self._write(m, self.ends, self.retired.valid, retired.tag,
                    {"generation": retired.generation, "watched": own ^ watched})
        cursors = stream.Signature(data.StructLayout({"tag": self.config.tag_bits, "domain": self.domain_layout}),
                                   always_ready=True).create()
        m.d.comb += [
            cursors.valid.eq(self.retired.valid & watched),
            cursors.payload.tag.eq(retired.tag), cursors.payload.domain.eq(record.domain),
        ]
        return cursors, record

    def _walk(self, m, cursors, cursor_record):
        """Walk on from each retired cursor, one tag a cycle."""
        here = Signal(cursors.payload.shape(), name="here")
        walking, told = Signal(), Signal()      # `here` was a cursor and is told of already
        tail = self._read(m, self.tails, here.domain)
        record = self._read(m, self.tags, here.tag)
        following = self._read(m, self.links, here.tag)
        at_tail, steps, next_retired = Signal(), Signal(), Signal()
        opened, retired = self.opened, self.retired
        m.d.comb += [
            at_tail.eq(tail.tag == here.tag),
            # The appender is just looking at this tail too: wait for what it makes of it.
            steps.eq(walking & ~(at_tail & opened.valid
                                 & (opened.payload.domain.as_value() == here.domain.as_value()))),
            next_retired.eq((self._read(m, self.tags, following).generation
                             == self._read(m, self.ends, following).generation)
                            | (retired.valid & (retired.payload.tag == following))),
        ]
        source = Mux(walking, record.as_value(), cursor_record.as_value())
        place = Mux(walking, here.as_value(), cursors.payload.as_value())
        self._tell(m, data.View(record.shape(), source), data.View(here.shape(), place),
                   Mux(walking, steps & ~told, cursors.valid))
        self._write(m, self.emptied, steps & at_tail, here.domain,
                    {"cursor": ~self._read(m, self.emptied, here.domain).cursor})
        self._write(m, self.watches, steps & ~at_tail & ~next_retired, following,
                    {"watched": ~self._read(m, self.watches, following).watched})

        # At most one tag of a domain is a cursor, so this queue never overflows.
        m.submodules.waiting = waiting = fifo.SyncFIFO(width=len(cursors.payload.as_value()), depth=self.config.tags)
        straight = Signal()
        m.d.comb += [waiting.w_data.eq(cursors.payload), waiting.w_en.eq(cursors.valid & ~straight)]
        with m.If(steps & ~at_tail & next_retired):
            m.d.sync += [here.tag.eq(following), told.eq(0)]
        with m.Elif(steps | ~walking):
            m.d.comb += [waiting.r_en.eq(1), straight.eq(~waiting.r_rdy)]
            m.d.sync += [
                here.eq(Mux(waiting.r_rdy, waiting.r_data, cursors.payload.as_value())),
                walking.eq(waiting.r_rdy | cursors.valid),
                told.eq(~walking),
            ]

    def _tell(self, m, record, place, here):
        """If a transaction ends `here`, it is ready."""
        ready = self.ready.payload
        m.d.comb += [
            self.ready.valid.eq(here & record.ends),
            ready.domain.eq(place.domain), ready.last.eq(place.tag),
            ready.first.eq(record.first), ready.beats.eq(record.beats), ready.group.eq(record.group),
        ]
