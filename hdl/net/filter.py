"""Which received frames the driver wants.

Source: VIRTIO 1.4, sections "Control Virtqueue / Packet Receive Filtering", "Setting MAC Address Filtering", "VLAN
Filtering".
"""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .filter_addresses import AddressTable
from .filter_vlans import VlanChange, VlanTable
from .spec import PacketHeaders

__all__ = ["FilterModes", "FilterPort", "ReceiveFilter"]


class FilterModes(data.Struct):
    """What VIRTIO_NET_CTRL_RX commands switch on, in the order of the commands."""
    promiscuous: 1
    all_multicast: 1
    all_unicast: 1
    no_multicast: 1
    no_unicast: 1
    no_broadcast: 1


class FilterPort(wiring.Signature):
    """From the control queue (as whose output it is written) to the filter.

    modes : Out(FilterModes)
    vlan : Out(VlanChange)
    begin, commit : Out(1); addresses : stream of 48 bits out
        a new table of addresses, see `AddressTable`
    too_many : Out(2)
        with `commit`: the table is to stand for all unicast [0], all multicast [1] addresses
    """

    def __init__(self):
        super().__init__({
            "modes": Out(FilterModes), "vlan": Out(VlanChange),
            "begin": Out(1), "addresses": Out(stream.Signature(48)), "commit": Out(1), "too_many": Out(2),
        })


class ReceiveFilter(wiring.Component):
    """A frame is unwanted if neither its kind nor its address is asked for, or its VLAN is not.

    | destination | wanted |
    | --- | --- |
    | any | with promiscuous, whatever else is set, and whatever its VLAN |
    | broadcast | without no_broadcast |
    | multicast | without no_multicast: with all_multicast, if it is `mac`, or if the table has it |
    | unicast | without no_unicast: with all_unicast, if it is `mac`, or if the table has it |

    Without `by_address` (VIRTIO_NET_F_CTRL_RX) the table has every address. With `by_vlan` (VIRTIO_NET_F_CTRL_VLAN) a
    frame whose outermost tag is an 802.1Q tag is unwanted unless its VLAN was added. Other tags, which drivers have no
    way to add, pass. Tables that overflow let pass too much, see `AddressTable`; nothing wanted is ever dropped.

    Latency 1 cycle, a frame a cycle, as `Steer`. A frame is judged by what is set in the cycle of its `headers`.

    Attributes
    ----------
    headers : In(PacketHeaders)
    by_address, by_vlan : In(1)
    mac : In(48)
        first byte lowest
    port : In(FilterPort)
    clear : In(1); clearing : Out(1)
        forget both tables; still at it
    unwanted : Out(1)
        a cycle after `headers`
    """

    headers: In(PacketHeaders)
    by_address: In(1)
    by_vlan: In(1)
    mac: In(48)
    port: In(FilterPort())
    clear: In(1)
    clearing: Out(1)
    unwanted: Out(1)

    def elaborate(self, platform):
        m = Module()
        m.submodules.addresses = addresses = AddressTable()
        m.submodules.vlans = vlans = VlanTable()
        headers, port, modes = self.headers, self.port, self.port.modes
        wiring.connect(m, wiring.flipped(port.addresses), addresses.addresses)
        m.d.comb += [
            addresses.begin.eq(port.begin), addresses.commit.eq(port.commit), addresses.clear.eq(self.clear),
            addresses.lookup.eq(headers.destination_mac),
            vlans.change.eq(port.vlan), vlans.clear.eq(self.clear), vlans.lookup.eq(headers.outer_tag[:12]),
            self.clearing.eq(vlans.clearing),
        ]
        too_many = Signal(2)
        with m.If(self.clear):
            m.d.sync += too_many.eq(0)
        with m.Elif(port.commit):
            m.d.sync += too_many.eq(port.too_many)

        destination = headers.destination_mac
        broadcast, multicast = destination.all(), destination[0]
        # What is known without the tables, registered beside their reads.
        wanted, by_table, by_vlan = Signal(), Signal(), Signal()
        everyone = Signal()       # the table need not be asked
        m.d.comb += everyone.eq(~self.by_address | (destination == self.mac)
                                | Mux(multicast, modes.all_multicast | too_many[1], modes.all_unicast | too_many[0]))
        with m.If(modes.promiscuous):
            m.d.sync += wanted.eq(1)
        with m.Elif(broadcast):
            m.d.sync += [wanted.eq(~modes.no_broadcast), by_table.eq(0)]
        with m.Else():
            allowed = ~Mux(multicast, modes.no_multicast, modes.no_unicast)
            m.d.sync += [wanted.eq(allowed & everyone), by_table.eq(allowed)]
        m.d.sync += by_vlan.eq(self.by_vlan & headers.customer_tag & ~modes.promiscuous)
        m.d.comb += self.unwanted.eq(~(wanted | (by_table & addresses.hit)) | (by_vlan & ~vlans.member))
        return m
