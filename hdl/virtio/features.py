"""Which features the card offers, and which of the driver's choices it accepts.

Source: VIRTIO 1.4, sections "Feature Bits", "Reserved Feature Bits", "Network Device / Feature bit requirements".

What is refused: a set with a bit that is not offered, without VIRTIO_F_VERSION_1, without VIRTIO_F_RING_PACKED (the
only ring format built), or with a feature whose prerequisite is missing. VIRTIO_F_ACCESS_PLATFORM and
VIRTIO_F_ORDER_PLATFORM are accepted present or absent: the card uses bus addresses as they are given and keeps the
platform's order in either case, so their absence costs nothing.
"""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .spec import FEATURE_BITS, Feature

__all__ = ["PREREQUISITES", "OFFERED_WITH", "NEVER_OFFERED", "REQUIRED", "FeatureError", "check_offered",
           "offered_features", "FeatureNegotiation"]

F = Feature

# Feature → groups of prerequisites; of each group at least one is needed, when offering and when accepting.
PREREQUISITES = {
    F.GUEST_TSO4: [(F.GUEST_CSUM,)],
    F.GUEST_TSO6: [(F.GUEST_CSUM,)],
    F.GUEST_ECN: [(F.GUEST_TSO4, F.GUEST_TSO6)],
    F.GUEST_UFO: [(F.GUEST_CSUM,)],
    F.GUEST_USO4: [(F.GUEST_CSUM,)],
    F.GUEST_USO6: [(F.GUEST_CSUM,)],
    F.GUEST_UDP_TUNNEL_GSO: [(F.GUEST_TSO4,), (F.GUEST_TSO6,), (F.GUEST_USO4,), (F.GUEST_USO6,)],
    F.GUEST_UDP_TUNNEL_GSO_CSUM: [(F.GUEST_UDP_TUNNEL_GSO,)],
    F.HOST_TSO4: [(F.CSUM,)],
    F.HOST_TSO6: [(F.CSUM,)],
    F.HOST_ECN: [(F.HOST_TSO4, F.HOST_TSO6)],
    F.HOST_UFO: [(F.CSUM,)],
    F.HOST_USO: [(F.CSUM,)],
    F.HOST_UDP_TUNNEL_GSO: [(F.HOST_TSO4,), (F.HOST_TSO6,), (F.HOST_USO,)],
    F.HOST_UDP_TUNNEL_GSO_CSUM: [(F.HOST_UDP_TUNNEL_GSO,)],
    F.CTRL_RX: [(F.CTRL_VQ,)],
    F.CTRL_VLAN: [(F.CTRL_VQ,)],
    F.GUEST_ANNOUNCE: [(F.CTRL_VQ,)],
    F.MQ: [(F.CTRL_VQ,)],
    F.CTRL_MAC_ADDR: [(F.CTRL_VQ,)],
    F.NOTF_COAL: [(F.CTRL_VQ,)],
    F.VQ_NOTF_COAL: [(F.CTRL_VQ,)],
    F.RSC_EXT: [(F.HOST_TSO4, F.HOST_TSO6)],
    F.RSS: [(F.CTRL_VQ,)],
    F.HASH_TUNNEL: [(F.CTRL_VQ,), (F.RSS, F.HASH_REPORT)],
    F.RSS_CONTEXT: [(F.CTRL_VQ,), (F.RSS,)],
}

# Companions that the text asks only the device for: a driver may accept the feature without them.
OFFERED_WITH = {
    F.CTRL_GUEST_OFFLOADS: [(F.CTRL_VQ,)],
    F.CTRL_RX_EXTRA: [(F.CTRL_VQ,)],
    F.DEVICE_STATS: [(F.CTRL_VQ,)],
    F.HASH_REPORT: [(F.CTRL_VQ,)],
    F.IPSEC: [(F.OUT_NET_HEADER,)],
}

# Legacy bits, bits without meaning for a PCI network device, and bits of a capability that the function doesn't have.
NEVER_OFFERED = {F.GSO, F.NOTIFY_ON_EMPTY, F.ANY_LAYOUT, F.UNUSED, F.GUEST_RSC6, F.SR_IOV}

# A driver must accept these.
REQUIRED = (F.VERSION_1, F.RING_PACKED)


class FeatureError(ValueError):
    """A set of features that must not be offered."""


def check_offered(offered):
    """Raise `FeatureError` unless `offered` (bit numbers) may be offered: each bit is defined, fit for this device,
    and has its prerequisites beside it."""
    offered = set(offered)
    for bit in sorted(offered):
        if bit not in set(Feature):
            raise FeatureError(f"feature bit {int(bit)} is not defined")
        feature = Feature(bit)
        if feature in NEVER_OFFERED:
            raise FeatureError(f"{feature.name} must not be offered by this device")
        for group in PREREQUISITES.get(feature, []) + OFFERED_WITH.get(feature, []):
            if not offered & set(group):
                raise FeatureError(f"{feature.name} is offered without {' or '.join(f.name for f in group)}")
    for feature in REQUIRED:
        if feature not in offered:
            raise FeatureError(f"{feature.name} must be offered")


def offered_features(config):
    """The features that a card of this `NicConfig` offers: a sorted tuple of `Feature`. It grows with what is built."""
    offered = {
        F.VERSION_1, F.ACCESS_PLATFORM, F.ORDER_PLATFORM, F.RING_PACKED, F.NOTIFICATION_DATA, F.NOTIF_CONFIG_DATA,
        F.EVENT_IDX, F.IN_ORDER, F.INDIRECT_DESC, F.RING_RESET,
        F.MAC, F.STATUS, F.MTU, F.SPEED_DUPLEX, F.MRG_RXBUF, F.GUEST_CSUM, F.RSS, F.HASH_REPORT,
        F.CTRL_VQ, F.MQ, F.NOTF_COAL, F.VQ_NOTF_COAL, F.CTRL_GUEST_OFFLOADS,
        F.CTRL_RX, F.CTRL_RX_EXTRA, F.CTRL_VLAN, F.CTRL_MAC_ADDR, F.GUEST_ANNOUNCE, F.DEVICE_STATS,
        F.CSUM, F.HOST_TSO4, F.HOST_TSO6, F.HOST_ECN, F.HOST_USO, F.GUEST_HDRLEN,
    }
    check_offered(offered)
    return tuple(sorted(offered))


class FeatureNegotiation(wiring.Component):
    """The driver's feature words and the verdict on them.

    Windows 0 to 3 are stored as written and read back as far as they are offered. A bit written in a window above
    stays with the device as "something was asked for that nobody offers" until `clear`, and refuses the set.

    `acceptable` and `window` follow a write, and `window` follows `select`, after 1 cycle.

    Parameters
    ----------
    offered : iterable of Feature
        Raises `FeatureError` when they must not be offered.

    Attributes
    ----------
    device_select, driver_select : In(32)
        window numbers
    device_window, driver_window : Out(32)
        offered bits, and accepted bits, of these windows
    strobe, data : In(4), In(32)
        bytes to write to window `driver_select`; ignored while `locked`
    locked : In(1)
        FEATURES_OK is set
    clear : In(1)
        forget the driver's features
    acceptable : Out(1)
        FEATURES_OK may be set
    negotiated : Out(128)
        accepted bits while `locked`, else 0; constant while a driver runs
    """

    device_select: In(32)
    driver_select: In(32)
    device_window: Out(32)
    driver_window: Out(32)
    strobe: In(4)
    data: In(32)
    locked: In(1)
    clear: In(1)
    acceptable: Out(1)
    negotiated: Out(FEATURE_BITS)

    def __init__(self, offered):
        check_offered(offered)
        self.offered = tuple(sorted(offered))
        super().__init__()

    @property
    def mask(self):
        """The offered bits as a number."""
        return sum(1 << feature for feature in self.offered)

    def elaborate(self, platform):
        m = Module()
        written = Signal(FEATURE_BITS)
        beyond = Signal()
        windows = FEATURE_BITS // 32
        with m.If(self.clear):
            m.d.sync += [written.eq(0), beyond.eq(0)]
        with m.Elif(~self.locked):
            for lane in range(4):
                byte = self.data.word_select(lane, 8)
                with m.If(self.strobe[lane]):
                    for number in range(windows):
                        with m.If(self.driver_select == number):
                            m.d.sync += written[32 * number:][8 * lane:8 * lane + 8].eq(byte)
                    with m.If((self.driver_select >= windows) & byte.any()):
                        m.d.sync += beyond.eq(1)
        accepted = written & self.mask
        m.d.sync += [
            self.device_window.eq(self._window(C(self.mask, FEATURE_BITS), self.device_select)),
            self.driver_window.eq(self._window(accepted, self.driver_select)),
            self.acceptable.eq(self._is_acceptable(written) & ~beyond),
            self.negotiated.eq(Mux(self.locked, accepted, 0)),
        ]
        return m

    @staticmethod
    def _window(bits, select):
        return Mux(select < FEATURE_BITS // 32, (bits >> (select[:2] << 5))[:32], 0)

    def _is_acceptable(self, written):
        foreign = (written & ~C(self.mask, FEATURE_BITS)).any()
        missing = [~written[feature] for feature in REQUIRED]
        missing += [
            written[feature] & ~Cat(written[other] for other in group).any()
            for feature in self.offered for group in PREREQUISITES.get(feature, [])
        ]
        return ~(foreign | Cat(missing).any())
