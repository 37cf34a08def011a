"""The generic shell: the card's streams under the flat port names that FPGA users know from hard PCIe blocks."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..nic import VirtioNetNic
from ..taps import collecting

__all__ = ["GenericShell", "PORTS", "tap_payload_ports"]


TLP_STREAMS = {"cq": "in", "cc": "out", "rq": "out", "rc": "in"}


def _tlp_ports(prefix, direction, config):
    forward, back = (In, Out) if direction == "in" else (Out, In)
    segments = config.segments
    return {
        f"{prefix}_valid": forward(segments), f"{prefix}_ready": back(1), f"{prefix}_first": forward(segments),
        f"{prefix}_last": forward(segments), f"{prefix}_header": forward(128 * segments),
        f"{prefix}_data": forward(config.width), f"{prefix}_keep": forward(config.width // 32),
    }


def PORTS(config):
    """{name: member} of every port but `clk` and `rst`, in the order of the documentation."""
    lanes = config.bytes_per_beat
    ports = {}
    for prefix, direction in TLP_STREAMS.items():
        ports.update(_tlp_ports(prefix, direction, config))
    ports.update({
        "rq_np_ready": In(1),
        "eth_tx_tdata": Out(config.width), "eth_tx_tkeep": Out(lanes), "eth_tx_tvalid": Out(1),
        "eth_tx_tready": In(1), "eth_tx_tlast": Out(1),
        "eth_rx_tdata": In(config.width), "eth_rx_tkeep": In(lanes), "eth_rx_tvalid": In(1),
        "eth_rx_tready": Out(1), "eth_rx_tlast": In(1), "eth_rx_tuser": In(1),
        "link_up": In(1),
        "cfg_mac": In(48), "cfg_mtu": In(16), "cfg_speed": In(32),
    })
    return ports


def SIMULATION_PORTS(config):
    """Ports of the simulation-only shell: what benches compare with their own count."""
    return {
        "sim_tags_outstanding": Out(range(config.tags + 1)),
        "sim_tags_quarantined": Out(range(config.tags + 1)),
        "sim_idle": Out(1),
    }


def tap_payload_ports(taps):
    """Names of the ports with the taps' fields."""
    return [f"sim_tap_{tap.name.replace('.', '_')}" for tap in taps]


def tap_ports(taps):
    """Ports of the event taps: which happen in this cycle, and their fields."""
    return {"sim_tap_valid": Out(len(taps)),
            **{port: Out(len(tap.payload)) for port, tap in zip(tap_payload_ports(taps), taps)}}


class GenericShell(wiring.Component):
    """Top level `virtio_net_nic`.

    Parameters
    ----------
    config : NicConfig
    simulation : bool
        add the `sim_` ports; they are absent from what goes into an FPGA flow
    taps : bool
        add ports for the event taps, likewise

    Attributes
    ----------
    taps : list of Tap
        in the order of their bits in `sim_tap_valid`
    """

    def __init__(self, config, *, simulation=False, taps=False):
        self.config = config
        self.simulation = simulation
        self._nic = VirtioNetNic(config)
        self._inside, self.taps = self._nic, ()
        if taps:
            # What there is to be told is known when the card has been elaborated.
            with collecting() as self.taps:
                self._inside = Fragment.get(self._nic, None)
        super().__init__({**PORTS(config), **(SIMULATION_PORTS(config) if simulation else {}),
                          **(tap_ports(self.taps) if taps else {})})

    def elaborate(self, platform):
        m = Module()
        nic = self._nic
        m.submodules.nic = self._inside
        for prefix, direction in TLP_STREAMS.items():
            self._connect_tlp(m, prefix, getattr(nic, prefix), direction)
        for name, member in PORTS(self.config).items():
            if name.partition("_")[0] in TLP_STREAMS and name != "rq_np_ready":
                continue
            if member.flow is In:
                m.d.comb += getattr(nic, name).eq(getattr(self, name))
            else:
                m.d.comb += getattr(self, name).eq(getattr(nic, name))
        if self.simulation:
            m.d.comb += [
                self.sim_tags_outstanding.eq(nic.tags_outstanding),
                self.sim_tags_quarantined.eq(nic.tags_quarantined),
                self.sim_idle.eq(nic.idle),
            ]
        if self.taps:
            m.d.comb += [self.sim_tap_valid.eq(Cat(tap.valid for tap in self.taps))]
            m.d.comb += [getattr(self, port).eq(tap.payload)
                         for port, tap in zip(tap_payload_ports(self.taps), self.taps)]
        return m

    def _connect_tlp(self, m, prefix, port, direction):
        fields = ("first", "last", "header", "data", "keep")
        outer = {name: getattr(self, f"{prefix}_{name}") for name in (*fields, "valid", "ready")}
        if direction == "in":
            m.d.comb += [port.valid.eq(outer["valid"]), outer["ready"].eq(port.ready)]
            m.d.comb += [getattr(port.payload, name).eq(outer[name]) for name in fields]
        else:
            m.d.comb += [outer["valid"].eq(port.valid), port.ready.eq(outer["ready"])]
            m.d.comb += [outer[name].eq(getattr(port.payload, name)) for name in fields]
