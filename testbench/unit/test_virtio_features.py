"""Features: what may be offered, and which of the driver's sets are accepted."""

import pytest

from hdl.config import PRESETS
from hdl.virtio.features import (
    FeatureError,
    FeatureNegotiation,
    check_offered,
    offered_features,
)
from hdl.virtio.spec import Feature as F
from testbench.unit.bench import StreamBench

BASE = {F.VERSION_1, F.RING_PACKED}
# (requirement, feature, what it needs, of which one is enough)
NEEDS = [
    ("FEA-020", F.GUEST_TSO4, [F.GUEST_CSUM]),
    ("FEA-021", F.GUEST_TSO6, [F.GUEST_CSUM]),
    ("FEA-022", F.GUEST_ECN, [F.GUEST_TSO4, F.GUEST_TSO6]),
    ("FEA-023", F.GUEST_UFO, [F.GUEST_CSUM]),
    ("FEA-024", F.GUEST_USO4, [F.GUEST_CSUM]),
    ("FEA-025", F.GUEST_USO6, [F.GUEST_CSUM]),
    ("FEA-026", F.GUEST_UDP_TUNNEL_GSO, [F.GUEST_TSO4]),
    ("FEA-026", F.GUEST_UDP_TUNNEL_GSO, [F.GUEST_TSO6]),
    ("FEA-026", F.GUEST_UDP_TUNNEL_GSO, [F.GUEST_USO4]),
    ("FEA-026", F.GUEST_UDP_TUNNEL_GSO, [F.GUEST_USO6]),
    ("FEA-027", F.GUEST_UDP_TUNNEL_GSO_CSUM, [F.GUEST_UDP_TUNNEL_GSO]),
    ("FEA-028", F.HOST_TSO4, [F.CSUM]),
    ("FEA-029", F.HOST_TSO6, [F.CSUM]),
    ("FEA-030", F.HOST_ECN, [F.HOST_TSO4, F.HOST_TSO6]),
    ("FEA-031", F.HOST_UFO, [F.CSUM]),
    ("FEA-032", F.HOST_USO, [F.CSUM]),
    ("FEA-033", F.HOST_UDP_TUNNEL_GSO, [F.HOST_TSO4]),
    ("FEA-033", F.HOST_UDP_TUNNEL_GSO, [F.HOST_TSO6]),
    ("FEA-033", F.HOST_UDP_TUNNEL_GSO, [F.HOST_USO]),
    ("FEA-034", F.HOST_UDP_TUNNEL_GSO_CSUM, [F.HOST_UDP_TUNNEL_GSO]),
    ("FEA-035", F.CTRL_RX, [F.CTRL_VQ]),
    ("FEA-036", F.CTRL_VLAN, [F.CTRL_VQ]),
    ("FEA-037", F.GUEST_ANNOUNCE, [F.CTRL_VQ]),
    ("FEA-038", F.MQ, [F.CTRL_VQ]),
    ("FEA-039", F.CTRL_MAC_ADDR, [F.CTRL_VQ]),
    ("FEA-040", F.NOTF_COAL, [F.CTRL_VQ]),
    ("FEA-041", F.VQ_NOTF_COAL, [F.CTRL_VQ]),
    ("FEA-042", F.RSC_EXT, [F.HOST_TSO4, F.HOST_TSO6]),
    ("FEA-043", F.RSS, [F.CTRL_VQ]),
    ("FEA-044", F.HASH_TUNNEL, [F.CTRL_VQ]),
    ("FEA-044", F.HASH_TUNNEL, [F.RSS, F.HASH_REPORT]),
    ("FEA-045", F.RSS_CONTEXT, [F.CTRL_VQ]),
    ("FEA-045", F.RSS_CONTEXT, [F.RSS]),
    ("FEA-046", F.IPSEC, [F.OUT_NET_HEADER]),
    ("FEA-047", F.DEVICE_STATS, [F.CTRL_VQ]),
    ("FEA-047", F.CTRL_GUEST_OFFLOADS, [F.CTRL_VQ]),
    ("NET-017", F.HASH_REPORT, [F.CTRL_VQ]),
    ("NET-018", F.CTRL_RX_EXTRA, [F.CTRL_VQ]),
]


def closure(feature):
    """`feature` and what it needs in turn, by the table above."""
    needed = {feature}
    for _, other, group in NEEDS:
        if other is feature:
            needed |= closure(group[0])
    return needed


@pytest.mark.parametrize("feature, group", [
    pytest.param(feature, group, marks=pytest.mark.requirements("FEA-001", row), id=f"{feature.name}-{group[0].name}")
    for row, feature, group in NEEDS])
def test_not_offered_without_prerequisite(feature, group):
    rest = BASE | closure(feature) - set(group)
    for one in group:
        check_offered(rest | closure(one))
    with pytest.raises(FeatureError, match="is offered without"):
        check_offered(rest)


@pytest.mark.requirements("FEA-004", "FEA-006")
@pytest.mark.parametrize("bit", [4, 25, 31, 44, 49, 71, 127, 128])
def test_undefined_bits_are_not_offered(bit):
    with pytest.raises(FeatureError, match=f"{bit} is not defined"):
        check_offered(BASE | {bit})


@pytest.mark.requirements("FEA-004", "FEA-016", "FEA-048")
@pytest.mark.parametrize("bit", [6, 24, 27, 30, 37, 42])
def test_unfit_bits_are_not_offered(bit):
    with pytest.raises(FeatureError, match="must not be offered"):
        check_offered(BASE | {bit})


@pytest.mark.requirements("FEA-007", "BAS-022")
@pytest.mark.parametrize("feature", [F.VERSION_1, F.RING_PACKED])
def test_must_be_offered(feature):
    with pytest.raises(FeatureError, match=f"{feature.name} must be offered"):
        FeatureNegotiation(BASE - {feature})


@pytest.mark.requirements("FEA-007", "FEA-009", "FEA-014", "BAS-022")
@pytest.mark.parametrize("config", PRESETS.values(), ids=PRESETS)
def test_offered_by_the_presets(config):
    offered = offered_features(config)
    assert {32, 33, 34, 36, 38, 39} <= set(offered)
    assert {5, 16, 3, 63} <= set(offered)


# A device of the future, to try prerequisites on: it offers checksums and segmentation.
FUTURE = sorted(BASE | {F.CSUM, F.HOST_TSO4, F.HOST_TSO6, F.HOST_ECN, F.MAC, F.ACCESS_PLATFORM, F.ORDER_PLATFORM})


def negotiate(words, *, offered=FUTURE, locked=False):
    """What the component says after `words`, a list of (window, value), have been written."""
    dut = FeatureNegotiation(offered)
    bench = StreamBench(dut)
    result = {}

    async def body(ctx):
        ctx.set(dut.locked, locked)
        for window, value in words:
            ctx.set(dut.driver_select, window)
            ctx.set(dut.data, value)
            ctx.set(dut.strobe, 0b1111)
            await ctx.tick()
            ctx.set(dut.strobe, 0)
        await ctx.tick()
        result["acceptable"] = ctx.get(dut.acceptable)
        ctx.set(dut.locked, 1)
        await ctx.tick()
        result["negotiated"] = ctx.get(dut.negotiated)
        result["windows"] = {}
        for window in [0, 1, 2, 3, 4, 0x8000_0000, 0x8000_0001]:
            ctx.set(dut.driver_select, window)
            ctx.set(dut.device_select, window)
            await ctx.tick()
            result["windows"][window] = (ctx.get(dut.device_window), ctx.get(dut.driver_window))
    bench.process(body)
    bench.run()
    return result


V1, PACKED, ACCESS, ORDER = 1 << 0, 1 << 2, 1 << 1, 1 << 4   # in window 1
CSUM, TSO4, TSO6, ECN, MAC = 1 << 0, 1 << 11, 1 << 12, 1 << 13, 1 << 5   # in window 0


@pytest.mark.requirements("FEA-002", "FEA-008", "FEA-010", "FEA-012", "FEA-013")
@pytest.mark.parametrize("low, high", [
    (0, V1 | PACKED),
    (0, V1 | PACKED | ACCESS),
    (0, V1 | PACKED | ORDER),
    (MAC, V1 | PACKED | ACCESS | ORDER),
    (CSUM, V1 | PACKED),
    (CSUM | TSO4, V1 | PACKED),
    (CSUM | TSO6 | ECN, V1 | PACKED),
    (CSUM | TSO4 | TSO6 | ECN | MAC, V1 | PACKED | ACCESS | ORDER),
])
def test_accepted(low, high):
    result = negotiate([(0, low), (1, high)])
    assert result["acceptable"]
    assert result["negotiated"] == high << 32 | low


@pytest.mark.requirements("FEA-003")
@pytest.mark.parametrize("words", [
    [],
    [(1, V1)],                                   # no ring format
    [(1, PACKED)],                               # not VERSION_1
    [(0, TSO4), (1, V1 | PACKED)],               # TSO without checksum
    [(0, CSUM | ECN), (1, V1 | PACKED)],         # ECN without any TSO
    [(0, 1 << 15), (1, V1 | PACKED)],            # not offered
    [(1, V1 | PACKED | 1 << 31)],                # not offered
    [(1, V1 | PACKED), (2, 1)],                  # not offered
    [(1, V1 | PACKED), (3, 1 << 31)],            # not defined
    [(1, V1 | PACKED), (4, 1)],                  # beyond what is stored
    [(1, V1 | PACKED), (0x8000_0000, 1 << 24), (5, 0)],
])
def test_refused(words):
    assert not negotiate(words)["acceptable"]


@pytest.mark.requirements("PCI-024", "PCI-025", "PCI-041")
def test_windows():
    result = negotiate([(0, 0xffff_ffff), (1, 0xffff_ffff), (2, 0xffff_ffff), (3, 0xffff_ffff), (4, 0xffff_ffff)])
    offered = {0: CSUM | TSO4 | TSO6 | ECN | MAC, 1: V1 | PACKED | ACCESS | ORDER}
    for window, seen in result["windows"].items():
        assert seen == (offered.get(window, 0),) * 2


@pytest.mark.requirements("PCI-024", "PCI-041")
def test_window_2():
    offered = BASE | {F.OUT_NET_HEADER, F.IPSEC}
    result = negotiate([(1, V1 | PACKED), (2, 1 << 5)], offered=offered)
    assert result["acceptable"]
    assert result["windows"][2] == (0b11 << 5, 1 << 5)
    assert result["negotiated"] == 1 << 69 | (V1 | PACKED) << 32


def test_locked_set_does_not_change():
    assert negotiate([(0, MAC), (1, V1 | PACKED)], locked=True)["negotiated"] == 0


@pytest.mark.requirements("FEA-005")
def test_clear_forgets():
    """After a reset the same set is accepted again, and nothing of an earlier refusal stays."""
    dut = FeatureNegotiation(FUTURE)
    bench = StreamBench(dut)
    seen = []

    async def body(ctx):
        for words in ([(0, 1 << 30), (7, 1)], [(1, V1 | PACKED)], [], [(1, V1 | PACKED)]):
            for window, value in words:
                ctx.set(dut.driver_select, window)
                ctx.set(dut.data, value)
                ctx.set(dut.strobe, 0b1111)
                await ctx.tick()
            ctx.set(dut.strobe, 0)
            await ctx.tick()
            seen.append(ctx.get(dut.acceptable))
            ctx.set(dut.clear, 1)
            await ctx.tick()
            ctx.set(dut.clear, 0)
    bench.process(body)
    bench.run()
    assert seen == [0, 1, 0, 1]


def test_bytes_of_a_window():
    dut = FeatureNegotiation(FUTURE)
    bench = StreamBench(dut)

    async def body(ctx):
        ctx.set(dut.data, 0xffff_ffff)
        for strobe, expected in [(0b0001, MAC | CSUM), (0b0100, MAC | CSUM), (0b0010, MAC | CSUM | TSO4 | TSO6 | ECN)]:
            ctx.set(dut.strobe, strobe)
            await ctx.tick()
            ctx.set(dut.strobe, 0)
            await ctx.tick()
            assert ctx.get(dut.driver_window) == expected
    bench.process(body)
    bench.run()
