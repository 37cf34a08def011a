"""Which received frames a driver has asked for.

Source: VIRTIO Version 1.4, sections "Packet Receive Filtering", "Setting MAC Address Filtering", "VLAN Filtering".
Where those leave a choice: promiscuous mode goes before the VLAN filter too; a tag that is not one of 802.1Q is no VLAN
tag, as there is no way to ask for it; more addresses than there is room for stand for all of their kind.
"""

from model import formats
from model.formats import Feature, RxCommand

__all__ = ["MAC_ENTRIES", "ReceiveFilter"]

MAC_ENTRIES = 64            # of each kind that are told apart
_BROADCAST = b"\xff" * 6
_TAG = b"\x81\x00"


class ReceiveFilter:
    """
    Parameters
    ----------
    features : what was negotiated, a mask
    mac : of the card, 6 bytes

    Attributes
    ----------
    modes : the `RxCommand`s that are on
    mac : changed by MAC_ADDR_SET
    unicast, multicast : sets of addresses, or None for all
    vlans : set of identifiers
    """

    def __init__(self, features, mac):
        self._by_address = formats.has_feature(features, Feature.NET_CTRL_RX)
        self._by_vlan = formats.has_feature(features, Feature.NET_CTRL_VLAN)
        self.modes = set()
        self.mac = mac
        self.unicast, self.multicast, self.vlans = set(), set(), set()

    def set_mode(self, mode, on):
        (self.modes.add if on else self.modes.discard)(mode)

    def set_addresses(self, unicast, multicast):
        """Replace both tables by lists of addresses."""
        self.unicast, self.multicast = (set(addresses) if len(addresses) <= MAC_ENTRIES else None
                                        for addresses in (unicast, multicast))

    def wants(self, frame):
        """Whether `frame`, of at least 14 bytes, is to be given to the driver."""
        if RxCommand.PROMISC in self.modes:
            return True
        if self._by_vlan and frame[12:14] == _TAG and int.from_bytes(frame[14:16], "big") & 0xfff not in self.vlans:
            return False
        return self._wants_address(frame[:6])

    def _wants_address(self, address):
        if address == _BROADCAST:
            return RxCommand.NOBCAST not in self.modes
        if address[0] & 1:
            no, every = RxCommand.NOMULTI, RxCommand.ALLMULTI
        else:
            no, every = RxCommand.NOUNI, RxCommand.ALLUNI
        if no in self.modes:
            return False
        return (not self._by_address or every in self.modes or address == self.mac or self._in_table(address))

    def _in_table(self, address):
        """An address in the table of the other kind is one that was asked for all the same."""
        if (self.multicast if address[0] & 1 else self.unicast) is None:
            return True
        return any(address in table for table in (self.unicast, self.multicast) if table)
