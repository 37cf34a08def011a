"""Commands and beats between the DMA engines and their clients. No logic.

Reads. A client asks for a *transaction*: one or more `ReadCommand` pieces in a row, the last one with `last`. What the
pieces name is delivered as one packed byte stream of `ReadBeat`s, gathered without gaps. Transactions of one order
domain, which is (client, queue), are delivered in the order in which they were asked for; transactions of different
domains in any order, so a slow host memory of one queue holds up no other.

Writes. A client gives `WriteCommand` pieces, the last one of a packet with `last`, and beside them the packet's bytes
as `PacketBeat`s. The engine scatters the bytes over the pieces.
"""

from amaranth.lib import data, enum

__all__ = ["Client", "ReadStatus", "FetchContext", "TableContext", "DataContext", "CONTEXT_BITS", "ReadCommand",
           "ReadBeat", "WriteCommand", "LENGTH_BITS"]


# A piece is at most 2**17 - 1 bytes: more than the largest frame or table; a longer descriptor is cut by its walker.
LENGTH_BITS = 17
# Context that travels with each piece and comes back with its bytes.
CONTEXT_BITS = 64


class Client(enum.Enum, shape=3):
    """Who reads. Also the first half of the order domain."""
    FETCH_RX = 0   # descriptors of receive queues
    FETCH_TX = 1   # descriptors of transmit queues
    EVENT_RX = 2   # driver event suppression of receive queues
    EVENT_TX = 3   # driver event suppression of transmit queues
    DATA_TX = 4    # frames to send
    TABLE_RX = 5   # indirect tables of receive queues
    TABLE_TX = 6   # indirect tables of transmit queues
    CONTROL = 7    # everything the control queue reads


class ReadStatus(enum.Enum, shape=3):
    """How a read ended; the worst of its pieces counts."""
    OK = 0
    UNSUPPORTED = 1   # completion status UR
    ABORTED = 2       # completion status CA, or a completion that contradicts its request
    POISONED = 3      # EP set on a completion
    TIMEOUT = 4       # no completion in time
    DISCARDED = 5     # not sent: the function is being reset
    RETRY = 6         # kept for address translation faults


class FetchContext(data.StructLayout):
    """Context of a descriptor fetch: where its descriptors stand in the ring and in the cache.

    Fields: `index` ring position of the first descriptor (0 to 32767); `wrap` driver wrap counter of the whole batch
    (a batch never passes the ring's end); `epoch` counts, modulo 4, how often what was fetched ahead was thrown away;
    `slot` cache slot of the first descriptor, modulo twice the cache; `count` descriptors asked for, 1 to 32; `told`
    the chains that they belong to were complete before this read: a doorbell told so (VIRTIO_F_NOTIFICATION_DATA), or
    an earlier read showed their heads.
    """

    def __init__(self):
        super().__init__({"index": 15, "wrap": 1, "epoch": 2, "slot": 11, "count": 6, "told": 1,
                          "reserved": CONTEXT_BITS - 36})


class TableContext(data.StructLayout):
    """Context of a read of an indirect table, or of a part of one: which buffer, and where its elements go.

    Fields: `slot` place of the first element in the cache of elements, modulo twice the cache; `chain` number of the
    first buffer that is not complete with these elements; `count` elements asked for, 1 to 32; `id` of the buffer;
    `first`, `last` the table begins, ends here.
    """

    def __init__(self):
        super().__init__({"slot": 11, "chain": 11, "count": 6, "id": 16, "first": 1, "last": 1,
                          "reserved": CONTEXT_BITS - 46})


class DataContext(data.StructLayout):
    """Context of a transmit read: what is written as used when its bytes have arrived; valid on the last piece.

    Fields: `id` buffer id; `slots` ring slots of the chain, 1 to 32768; `drop` the chain is malformed, its frame does
    not go out; `packet_last` the transaction ends a packet (a long chain is read in several transactions).
    """

    def __init__(self):
        super().__init__({"id": 16, "slots": 16, "drop": 1, "packet_last": 1, "reserved": CONTEXT_BITS - 34})


class ReadCommand(data.StructLayout):
    """One piece of a read transaction.

    Fields
    ------
    client : `Client`; queue : local index of the queue in its direction's engine; function : PCI function
    address : 64 bits, any byte alignment
    length : bytes, 0 to 2**17 - 1; a piece of 0 bytes reads nothing but keeps its place in the order
    last : closes the transaction
    more : with `last`: the next transaction of this domain continues the same packet and must follow it without
        another transaction of the same client in between
    context : 64 bits returned with the bytes
    """

    def __init__(self, pair_bits):
        super().__init__({
            "client": Client, "function": 8, "queue": pair_bits, "address": 64, "length": LENGTH_BITS,
            "last": 1, "more": 1, "context": CONTEXT_BITS,
        })


class ReadBeat(data.StructLayout):
    """One beat of a delivered transaction: packed bytes, gathered over its pieces.

    Fields
    ------
    data, bytes, first, last : as in `PacketBeat`; a transaction of 0 bytes is one beat with `bytes` 0
    client, queue : as asked
    status : `ReadStatus`, valid with `last`; not OK means that the bytes are not to be used
    behind : with `last`: another transaction of the same domain is under way
    context : context of the transaction's last piece, valid on every beat
    """

    def __init__(self, width, pair_bits):
        super().__init__({
            "data": width, "bytes": range(width // 8 + 1), "first": 1, "last": 1,
            "client": Client, "queue": pair_bits, "status": ReadStatus, "behind": 1, "context": CONTEXT_BITS,
        })


class WriteCommand(data.StructLayout):
    """One piece of a write: the next `length` bytes of the packet go to `address`.

    Fields: `function`; `queue` local index; `address` any byte alignment; `length` 1 to 2**17 - 1; `last` ends the
    packet: the sum of the lengths equals the packet's bytes.
    """

    def __init__(self, pair_bits):
        super().__init__({"function": 8, "queue": pair_bits, "address": 64, "length": LENGTH_BITS, "last": 1})
