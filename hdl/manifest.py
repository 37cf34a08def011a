"""The manifest beside the Verilog: parameters, ports, register map, as plain data."""

from amaranth.hdl import Shape
from amaranth.lib.wiring import In

from .events import COUNTERS
from .pcie.bar import BarLayout
from .virtio.features import offered_features
from .virtio.maps import COMMON_CONFIG, ISR_STATUS, NET_CONFIG
from .virtio.spec import Feature

__all__ = ["manifest_of"]


_PROTOCOLS = {
    "cq": "TLP stream, completer requests", "cc": "TLP stream, completions to them",
    "rq": "TLP stream, requester requests", "rc": "TLP stream, completions to them",
    "eth": "AXI4-Stream, Ethernet frames without preamble and FCS",
    "link": "level", "cfg": "strap, constant out of reset", "sim": "for benches only",
}


def _ports(shell):
    ports = [{"name": "clk", "direction": "in", "width": 1, "protocol": "clock, 250 MHz nominal"},
             {"name": "rst", "direction": "in", "width": 1, "protocol": "synchronous reset, active high"}]
    for name, member in shell.signature.members.items():
        ports.append({"name": name, "direction": "in" if member.flow is In else "out",
                      "width": Shape.cast(member.shape).width,
                      "protocol": "level: 0 stops non-posted TLPs on rq" if name == "rq_np_ready"
                      else _PROTOCOLS[name.partition("_")[0]]})
    return ports


def manifest_of(config, shell):
    """Everything about the card that a user of the Verilog may ask: see the keys."""
    layout = BarLayout.of(config)
    regions = ("common", "isr", "device", "counters", "notify", "msix_table", "msix_pba")
    return {
        "ports": _ports(shell),
        "CQ_NP_DEPTH": config.cq_np_depth,
        "queues": config.queues,
        "msix_vectors": config.vectors,
        "receive_fifo_bytes": config.rx_buffer,
        "transmit_fifo_bytes": config.tx_buffer,
        "max_frame": config.max_frame,
        "features": [{"bit": int(bit), "name": Feature(bit).name} for bit in sorted(offered_features(config))],
        "bar0": {"size": layout.size,
                 "regions": [{"name": name, "offset": getattr(layout, name),
                              "length": getattr(layout, f"{name}_length")} for name in regions]},
        "registers": {"common": COMMON_CONFIG.describe(), "isr": ISR_STATUS.describe(),
                      "device": NET_CONFIG.describe()},
        "counters": [{"name": counter.name, "offset": 8 * n, "description": counter.description}
                     for n, counter in enumerate(COUNTERS)],
        **({"taps": [tap.describe() for tap in shell.taps]} if shell.taps else {}),
    }
