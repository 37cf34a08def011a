"""What the stages of the read engine tell each other, and the table of its clients. No logic.

A *tag* is a read request on the link and the slot that its completion fills. A *piece* is cut into requests, each of
which takes a tag; the tags of a *transaction* are linked in order, and the transactions of a *domain* (client, queue)
too: seen from a domain there is one list of tags, in some of which a transaction ends.
"""

from dataclasses import dataclass

from amaranth.lib import data

from .spec import CONTEXT_BITS, Client, ReadStatus

__all__ = ["ReadClient", "READ_CLIENTS", "GENERATION", "GROUP", "DomainLayout", "ReadRequest", "ReadGeometry",
           "ReadOpened", "ReadRetired", "ReadReady", "ReadRow"]


@dataclass(frozen=True)
class ReadClient:
    """A row of the client table.

    name : ports are `<name>`, `o_<name>` and `room_<name>`
    client : its number in commands and beats
    bulk : asks for packets: leaves the reserved tags to the others and may use `more`
    most_bytes : function of the configuration; bytes that `room` stands for, the largest of the client's transactions
    """
    name: str
    client: Client
    bulk: bool
    most_bytes: object


READ_CLIENTS = (
    ReadClient("fetch_rx", Client.FETCH_RX, False, lambda config: 16 * config.fetch_batch),
    ReadClient("fetch_tx", Client.FETCH_TX, False, lambda config: 16 * config.fetch_batch),
    ReadClient("event_rx", Client.EVENT_RX, False, lambda config: 4),
    ReadClient("event_tx", Client.EVENT_TX, False, lambda config: 4),
    ReadClient("control", Client.CONTROL, False, lambda config: 16),
    ReadClient("table_rx", Client.TABLE_RX, False, lambda config: config.read_bytes),
    ReadClient("table_tx", Client.TABLE_TX, False, lambda config: config.read_bytes),
    ReadClient("data_tx", Client.DATA_TX, True, lambda config: config.part_bytes),
)


# Toggles each time a tag is taken. A memory written at the tag's end of life holds the same bit once that has been
# reached, so that nobody has to clear it and each memory has one writer.
GENERATION = 1
# Transactions of bulk clients are delivered group by group: a packet that is read in several of them is a group, and so
# is what comes between two such packets. So many bits tell groups apart; one less than that many may be under way.
GROUP = 2


class DomainLayout(data.StructLayout):
    """An order domain."""

    def __init__(self, pair_bits):
        super().__init__({"queue": pair_bits, "client": Client})


class ReadRequest(data.StructLayout):
    """A read request before it has a tag: within one aligned block of `read_bytes`.

    `length` is 0 to `read_bytes`; `last` ends the transaction, then `more` as in `ReadCommand`.
    """

    def __init__(self, pair_bits, read_bytes):
        super().__init__({"domain": DomainLayout(pair_bits), "address": 64, "length": range(read_bytes + 1),
                          "last": 1, "more": 1, "context": CONTEXT_BITS})


class ReadGeometry(data.StructLayout):
    """How the bytes of a request lie in its slot: DW of the first byte in lane 0 of row 0.

    `offset` of the first byte in its DW; `last_row` number of the last row used; `top` bytes up to the end in that row,
    `offset` included, 0 for a request of no bytes.
    """

    def __init__(self, width, read_bytes):
        beat = width // 8
        super().__init__({"offset": 2, "last_row": range(max(2, read_bytes // beat)), "top": range(beat + 1)})


class ReadOpened(data.StructLayout):
    """A tag has been taken.

    Fields
    ------
    tag, generation : which, and its generation from now on
    sent : a request goes to the link; otherwise the tag retires as `unsent` right away
    unsent : `ReadStatus`
    domain : whose
    low, length : address bits 6:0 and bytes of the request
    geometry : `ReadGeometry`
    first : first tag of the transaction
    last : the transaction ends here; then these are valid:
    beats : beats that the transaction is delivered in
    group : of a bulk client's transaction: number of its group
    context : of its last piece
    """

    def __init__(self, config):
        super().__init__({
            "tag": config.tag_bits, "generation": GENERATION, "sent": 1, "unsent": ReadStatus,
            "domain": DomainLayout(config.pair_bits), "low": 7, "length": range(config.read_bytes + 1),
            "geometry": ReadGeometry(config.width, config.read_bytes),
            "first": config.tag_bits, "last": 1,
            "beats": range(config.tags * config.read_bytes // config.bytes_per_beat + 1),
            "group": GROUP, "context": CONTEXT_BITS,
        })


class ReadRetired(data.StructLayout):
    """A tag has retired: nothing will be written to its slot any more. `sent` as in `ReadOpened`."""

    def __init__(self, tag_bits):
        super().__init__({"tag": tag_bits, "generation": GENERATION, "status": ReadStatus, "sent": 1})


class ReadReady(data.StructLayout):
    """A transaction may be delivered: all its tags are retired, and so are those of older ones of its domain."""

    def __init__(self, config):
        opened = ReadOpened(config).members
        super().__init__({"domain": opened["domain"], "first": config.tag_bits, "last": config.tag_bits,
                          "beats": opened["beats"], "group": GROUP})


class ReadRow(data.StructLayout):
    """One row of a slot on its way to the packer; its data arrives a cycle later.

    Fields
    ------
    rotate : bytes by which the row is rotated towards higher lanes
    held : bytes of this transaction that the residue holds before this row, 0 to a beat
    total : `held` and the bytes of this row
    whole : the row completes a beat and its transaction goes on, so that beat need not wait for what follows
    first, last : ends of the transaction
    domain, status, behind, context : of the transaction, as in `ReadBeat`; `status` and `behind` valid with `last`
    """

    def __init__(self, width, pair_bits):
        beat = width // 8
        super().__init__({"rotate": range(beat), "held": range(beat + 1), "total": range(2 * beat + 1),
                          "whole": 1, "first": 1, "last": 1, "domain": DomainLayout(pair_bits), "status": ReadStatus,
                          "behind": 1, "context": CONTEXT_BITS})
