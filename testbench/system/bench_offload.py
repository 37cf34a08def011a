"""Checksums and segmentation left to the card: what leaves the wire is judged by the functional twin and by tshark."""

import subprocess
import tempfile
from pathlib import Path

from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from model.formats import GsoType
from model.offload import MalformedPacket, frames_of
from sim.capture import CapturedFrame, write_capture
from sim.tools import missing
from testbench.driver.framing import Framing
from testbench.driver.net import WANTED_ALL
from testbench.driver.offload import Offload, prepare
from testbench.system.case import system_test
from testbench.unit.offload_packets import random_packet, spoil

SEGMENTED = (GsoType.TCPV4, GsoType.TCPV6, GsoType.UDP_L4)
CHECKED = [f"-o{protocol}.check_checksum:TRUE" for protocol in ("ip", "tcp", "udp")]
# Ports are random, so nothing above TCP and UDP is to be taken for what it looks like.
KNOWN = [argument for protocol in ("tcp", "udp") for argument in ("-d", f"{protocol}.port==0-65535,data")]


def tshark(frames, *arguments):
    """Lines that tshark prints of a capture of `frames`, None without tshark."""
    if reason := missing("tshark"):
        print(f"not read by tshark: {reason}")
        return None
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "out.pcap"
        write_capture(path, [CapturedFrame(frame, 100 * number) for number, frame in enumerate(frames)])
        out = subprocess.run(["tshark", "-r", path, *CHECKED, *KNOWN, *arguments], capture_output=True, text=True,
                             check=True)
    return out.stdout.splitlines()


def check_with_tshark(frames):
    """Every frame has a good checksum, and nothing is malformed."""
    assert not tshark(frames, "-Y", "_ws.malformed or ip.checksum.status == 0 or tcp.checksum.status == 0"
                                    " or udp.checksum.status == 0")
    good = tshark(frames, "-Y", "tcp.checksum.status == 1 or udp.checksum.status == 1")
    assert good is None or len(good) == len(frames)


async def send_and_compare(bench, nic, packets):
    """Send (frame, payload bytes in a segment or 0) pairs; returns the frames that left, as the twin made them."""
    wanted, left = [], []
    queue, most = nic.transmitters[0], bench.parameter("max_mtu") + 22

    async def take(until):
        while len(left) < until:
            left.append(await bench.wire(timeout_ns=500_000))
            assert left[-1] == wanted[len(left) - 1], f"frame {len(left) - 1}"
    for frame, segment in packets:
        offload, prepared = prepare(frame, nic.virtio.features, checksum=True, segment=segment)
        wanted += frames_of(offload.header(12), prepared, nic.virtio.features, most)
        # In one piece, or as a driver cuts what lies in pages, the header apart.
        page = bench.random.choice([1 << 17, 4096, 1024])
        framing = Framing(cuts=(12, *range(12 + page, 12 + len(frame), page))[:queue.ring.size - 1])
        await nic.send(frame, checksum=True, segment=segment, framing=framing)
        if queue.ring.free < queue.ring.size // 2:
            await take(len(wanted))
    await take(len(wanted))
    await nic.flush(timeout_ns=100_000)
    return left


def random_packets(rng, count):
    for _ in range(count):
        kind, size = rng.choice(SEGMENTED), rng.choice([1, rng.randint(1, 3000), rng.randint(1, 16_000), 65_000])
        segment = rng.choice([0, 1448, 1460, 536, rng.randint(-(-size // 60), 1700)])
        if not segment:
            size = min(size, 1300)
        yield random_packet(rng, kind, rng.randbytes(size), segment)[1], segment


def _random(name, count, **options):
    @system_test("NET-043", "NET-044", "NET-045", name=name, **options)
    async def run(bench):
        nic = await bench.nic(queue_size=64, wanted=WANTED_ALL, packet_bytes=65_557)
        left = await send_and_compare(bench, nic, random_packets(bench.random, count))
        check_with_tshark(left)
        assert await bench.counter("transmit.frames") == len(left)
        assert await bench.counter("transmit.bytes") == sum(map(len, left))
    return run


offloads = _random("offloads", 40, timeout_us=20_000)
offloads_for_long = _random("offloads_for_long", 2500, timeout_us=800_000, long=True, once=True,
                            simulators=("verilator",))
offloads_at_512_bits = _random("offloads_at_512_bits", 300, presets=("default",), width=512, timeout_us=100_000,
                               long=True, once=True, simulators=("verilator",))


def stream_packets(rng, version, payload, segment):
    """A TCP stream from SYN on, in packets of up to 60,000 bytes."""
    addresses = {4: {"src": "10.0.0.1", "dst": "10.0.0.2"}, 6: {"src": "fd00::1", "dst": "fd00::2"}}[version]
    ethernet = Ether(dst="02:00:00:00:00:02", src="02:00:00:00:00:01") / (IP, IPv6)[version == 6](**addresses)
    seq = 0xffff_0000       # passes 2**32
    yield bytes(ethernet / TCP(sport=1000, dport=2000, seq=seq - 1, flags="S")), 0
    while payload:
        chunk, payload = payload[:(size := rng.randint(1, 60_000))], payload[size:]
        flags = "A" if payload else "FPA"
        yield bytes(ethernet / TCP(sport=1000, dport=2000, seq=seq % 2**32, flags=flags) / Raw(chunk)), segment
        seq += len(chunk)


def _stream(name, version, size, **options):
    @system_test("NET-044", name=name, **options)
    async def run(bench):
        nic = await bench.nic(queue_size=64, wanted=WANTED_ALL, packet_bytes=65_557)
        payload = bench.random.randbytes(size)
        left = await send_and_compare(bench, nic, stream_packets(bench.random, version, payload, 1448))
        check_with_tshark(left)
        lines = tshark(left, "-q", "-z", "follow,tcp,raw,0")
        assert lines is None or bytes.fromhex("".join(line for line in lines if line.isalnum())) == payload
    return run


tcp4_stream = _stream("tcp4_stream", 4, 200_000, timeout_us=20_000)
tcp6_stream = _stream("tcp6_stream", 6, 100_000, timeout_us=20_000)
tcp_stream_for_long = _stream("tcp_stream_for_long", 4, 5_000_000, timeout_us=200_000, long=True, once=True,
                              simulators=("verilator",))


@system_test("NET-035", "NET-037", "NET-038", "NET-039", timeout_us=20_000)
async def wrong_headers(bench):
    """Packets that are malformed are dropped and counted, each buffer comes back, and what is good leaves."""
    nic = await bench.nic(queue_size=64, wanted=WANTED_ALL, packet_bytes=65_557)
    wanted, dropped = [], 0
    for _ in range(80):
        header, frame = random_packet(bench.random, bench.random.choice(SEGMENTED), bench.random.randbytes(3000), 1000)
        if bench.random.random() < 0.7:
            header, frame = spoil(bench.random, header, frame)
        try:
            wanted += frames_of(header, frame, nic.virtio.features, bench.parameter("max_mtu") + 22)
        except MalformedPacket:
            dropped += 1
        offload = Offload(header[0], header[1], *(int.from_bytes(header[at:at + 2], "little") for at in (2, 4, 6, 8)))
        await nic.transmitters[0].send(frame, nic.options.framing, offload)
    for frame in wanted:
        assert await bench.wire() == frame
    await nic.flush(timeout_ns=100_000)
    assert dropped and await bench.counter("transmit.drop.malformed") == dropped
