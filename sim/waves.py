"""make waves: one system test with waveforms, and a GTKWave save file that shows a packet's way through the card."""

import argparse
import sys

from hdl.config import ConfigError
from hdl.dma.spec import ReadCommand, WriteCommand
from hdl.generate import TOP, configuration
from hdl.stream import TlpBeat
from hdl.virtqueue.spec import Doorbell
from testbench.system.catalogue import find_case, run_case

from .gtkw import Bits, Names, Record, Signal, save_file
from .simulators import BUILD, SimulatorError, check_simulator

__all__ = ["groups_of", "main"]

WAVES = BUILD / "waves"

# Bits 31:24 of a TLP's DW0: PCI Express Base Specification, Revision 4.0, table 2-3.
KINDS = Names.of("TlpKind", 8, {
    0x00: "MRd", 0x20: "MRd64", 0x40: "MWr", 0x60: "MWr64", 0x04: "CfgRd0", 0x44: "CfgWr0", 0x02: "IORd", 0x42: "IOWr",
    0x0a: "Cpl", 0x4a: "CplD", **{0x30 | routing: "Msg" for routing in range(8)},
    **{0x70 | routing: "MsgD" for routing in range(8)}})
STATUS = Names.of("CompletionStatus", 3, {0: "SC", 1: "UR", 2: "RRS", 4: "CA"})


def _handshake(path):
    return [Signal(f"{path}__valid"), Signal(f"{path}__ready")]


def _tlps(prefix, *, completion):
    """One of the four TLP streams at the ports."""
    header = f"{prefix}_header"
    fields = [("kind", 24, 8, KINDS), ("length", 0, 10, None)]
    if completion:
        fields += [("status", 45, 3, STATUS), ("tag", 72, 8, None), ("byte_count", 32, 12, None)]
    else:
        fields += [("tag", 40, 8, None), ("dw2", 64, 32, None), ("dw3", 96, 32, None)]
    return [*[Signal(f"{prefix}_{name}") for name in ("valid", "ready", "first", "last")],
            *[Bits(f"{prefix}.{name}", header, low, width, names) for name, low, width, names in fields],
            Signal(f"{prefix}_data"), Signal(f"{prefix}_keep")]


def _axis(prefix):
    return [Signal(f"{prefix}_{name}") for name in ("tvalid", "tready", "tlast", "tkeep", "tdata")]


def _stream(path, layout, only=None):
    return [*_handshake(path), *Record(f"{path}__payload", layout, only=only)]


def _posted(path, config):
    """A stream of whole TLPs inside the card."""
    payload = f"{path}__payload"
    header = TlpBeat(config.width)["header"].offset
    return [*_handshake(path), *Record(payload, TlpBeat(config.width), only=("first", "last", "keep")),
            Bits(f"{path.rpartition('.')[2]}.kind", payload, header + 24, 8, KINDS),
            Bits(f"{path.rpartition('.')[2]}.dw2", payload, header + 64, 32),
            Bits(f"{path.rpartition('.')[2]}.dw3", payload, header + 96, 32)]


def groups_of(config):
    """{title: signals} in the order in which a packet meets them."""
    bits = config.pair_bits
    reads = ("queue", "address", "length", "last", "context")
    tx, rx = "nic.tx_engine", "nic.rx_engine"
    return {
        "clock": [Signal("clk"), Signal("rst"), Signal("sim_idle"), Signal("sim_tags_outstanding")],
        "doorbell": [*_tlps("cq", completion=False), *_stream(f"{tx}.doorbells", Doorbell(bits)),
                     *_stream(f"{rx}.doorbells", Doorbell(bits))],
        "descriptor fetch": [*_stream(f"{tx}.fetch_reads", ReadCommand(bits), reads),
                             *_stream(f"{rx}.fetch_reads", ReadCommand(bits), reads)],
        "data read": [*_stream(f"{tx}.data_reads", ReadCommand(bits), reads), *_tlps("rq", completion=False),
                      Signal("rq_np_ready"), *_tlps("rc", completion=True)],
        "wire": [*_axis("eth_tx"), *_axis("eth_rx"), Signal("eth_rx_tuser")],
        "received data": [*_stream("nic.write_engine.commands", WriteCommand(bits)),
                          *_posted("nic.write_engine.o", config)],
        "used write": [*_posted(f"{tx}.used", config), *_posted(f"{rx}.used", config)],
        "MSI-X": [*_stream(f"{tx}.event_reads", ReadCommand(bits), reads),
                  *_stream(f"{rx}.event_reads", ReadCommand(bits), reads),
                  *_handshake("nic.interrupts.requests"), Signal("nic.interrupts.requests__payload"),
                  *_posted("nic.msix.o", config)],
        "completions to the host": _tlps("cc", completion=True),
    }


def _options(arguments):
    parser = argparse.ArgumentParser(prog="waves", description=__doc__.splitlines()[0])
    parser.add_argument("test")
    parser.add_argument("--simulator", default="verilator")
    parser.add_argument("--config", help="preset; the test's first one unless told")
    parser.add_argument("--link", default="gen3x8")
    parser.add_argument("--profile", default="e5-warm")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args(arguments)


def main(arguments=None):
    options = _options(arguments)
    try:
        module, case = find_case(options.test)
        preset = options.config or case.presets[0]
        config = configuration(preset)
        check_simulator(options.simulator)
        directory = WAVES / f"{options.test}-{preset}-{options.simulator}"
        waveform = directory / f"{options.test}.fst"
        waveform.unlink(missing_ok=True)
        print(f"waves: {options.test} on {preset!r} under {options.simulator}, traced (minutes the first time)",
              flush=True)
        outcome = run_case(module, options.test, preset=preset, simulator=options.simulator, link=options.link,
                           profile=options.profile, seed=options.seed, waves=waveform, directory=directory)
    except (ConfigError, SimulatorError) as error:
        print(f"waves: {error}", file=sys.stderr)
        return 2
    if not waveform.exists():
        print(f"waves: FAILED: no waveform was written: {outcome.summary()} (log: {outcome.log})", file=sys.stderr)
        return 1
    save = waveform.with_suffix(".gtkw")
    absent = save_file(save, waveform, TOP, groups_of(config))
    if absent:
        print(f"waves: not in the waveform: {', '.join(dict.fromkeys(absent))}", file=sys.stderr)
    print(f"waveform:  {waveform}\nsave file: {save}  (gtkwave {save})")
    if not outcome.ok:
        print(f"waves: the test FAILED: {outcome.summary()}", file=sys.stderr)
    return 0 if outcome.ok else 1


if __name__ == "__main__":
    sys.exit(main())
