"""Makes `sim/captures/sample.pcap`, the capture that ships with the project: python -m sim.make_sample [file]

About 3,000 frames of 60 to 1514 bytes, as on a small office's network: ARP, DNS, ping, neighbour discovery, web pages
over TCP, calls over UDP; IPv4 and IPv6, some in a VLAN; all checksums correct. Always the same bytes.
"""

import random
import sys
from pathlib import Path

from scapy.layers.dns import DNS, DNSQR
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, ICMPv6ND_NS, IPv6
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Raw

from sim.capture import CapturedFrame, write_capture

__all__ = ["SAMPLE", "make_frames"]

SAMPLE = Path(__file__).parent / "captures" / "sample.pcap"
FRAMES = 3000
SHORTEST = 60               # without FCS
SEGMENT = 1460              # TCP payload that fills a frame over IPv4
BEGAN_NS = 1_700_000_000 * 10**9


class Station:
    """A host of the network: addresses of both families, derived from its number."""

    def __init__(self, number):
        self.number = number
        self.mac = f"02:00:5e:10:00:{number:02x}"
        self.ip = f"192.0.2.{number}"           # addresses that are kept for documentation
        self.ip6 = f"2001:db8::{number:x}"


class Sample:
    """Builds conversations, frame by frame."""

    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.stations = [Station(number) for number in range(1, 33)]
        self.ip_ids = 0

    def link(self, source, target, vlan):
        """Ethernet header, tagged if `vlan`; `target` None broadcasts."""
        ether = Ether(src=source.mac, dst=target.mac if target else "ff:ff:ff:ff:ff:ff")
        return ether / Dot1Q(vlan=vlan) if vlan else ether

    def network(self, source, target, v6):
        if v6:
            return IPv6(src=source.ip6, dst=target.ip6, hlim=64)
        self.ip_ids += 1
        return IP(src=source.ip, dst=target.ip, id=self.ip_ids & 0xffff, flags="DF", ttl=64)

    def arp(self, a, b, vlan, v6):
        yield self.link(a, None, vlan) / ARP(op=1, hwsrc=a.mac, psrc=a.ip, hwdst="00:00:00:00:00:00", pdst=b.ip)
        yield self.link(b, a, vlan) / ARP(op=2, hwsrc=b.mac, psrc=b.ip, hwdst=a.mac, pdst=a.ip)

    def ping(self, a, b, vlan, v6):
        data = self.rng.randbytes(self.rng.choice((8, 56, 1000)))
        identifier = self.rng.randrange(1 << 16)
        if v6:
            yield self.link(a, b, vlan) / self.network(a, b, True) / ICMPv6ND_NS(tgt=b.ip6)
            yield self.link(a, b, vlan) / self.network(a, b, True) / ICMPv6EchoRequest(id=identifier, data=data)
        else:
            for kind, source, target in ((8, a, b), (0, b, a)):
                yield (self.link(source, target, vlan) / self.network(source, target, False)
                       / ICMP(type=kind, id=identifier, seq=1) / Raw(data))

    def name(self, a, b, vlan, v6):
        query = DNS(id=self.rng.randrange(1 << 16), rd=1, qd=DNSQR(qname=f"host{self.rng.randrange(1000)}.example"))
        yield (self.link(a, b, vlan) / self.network(a, b, v6)
               / UDP(sport=self.rng.randrange(49152, 65536), dport=53) / query)

    def _payload(self, length):
        """Random bytes that no dissector takes for RTP or RTCP, whose first two bits are a version of 2."""
        data = self.rng.randbytes(length)
        return bytes([data[0] & 0x3f]) + data[1:] if data else data

    def call(self, a, b, vlan, v6):
        ports = [self.rng.randrange(16384, 32768) for _ in range(2)]
        length = self.rng.choice((20, 160, 480, 1200))
        for i in range(self.rng.randrange(10, 30)):
            source, target, sport, dport = (a, b, *ports) if i % 2 else (b, a, *ports[::-1])
            yield (self.link(source, target, vlan) / self.network(source, target, v6)
                   / UDP(sport=sport, dport=dport) / Raw(self._payload(length)))

    def page(self, a, b, vlan, v6):
        """A TCP connection: three to open, a request, full segments with an acknowledgement to every two, the end."""
        port = self.rng.randrange(49152, 65536)
        sent = {a: self.rng.randrange(1 << 32), b: self.rng.randrange(1 << 32)}

        def segment(source, flags, payload=b""):
            target = b if source is a else a
            ports = {"sport": port, "dport": 443} if source is a else {"sport": 443, "dport": port}
            options = [("MSS", SEGMENT)] if "S" in flags else []
            acknowledged = sent[target] if "A" in flags else 0
            tcp = TCP(**ports, flags=flags, seq=sent[source], ack=acknowledged, window=65535, options=options)
            sent[source] = sent[source] + len(payload) + ("S" in flags or "F" in flags) & 0xffff_ffff
            packet = self.link(source, target, vlan) / self.network(source, target, v6) / tcp
            return packet / Raw(payload) if payload else packet

        yield segment(a, "S")
        yield segment(b, "SA")
        yield segment(a, "A")
        yield segment(a, "PA", self.rng.randbytes(self.rng.randrange(80, 500)))
        left, most, count = self.rng.randrange(200, 20_000), SEGMENT - (20 if v6 else 0) - (4 if vlan else 0), 0
        while left:
            length = min(left, most)
            left -= length
            count += 1
            yield segment(b, "PA" if not left else "A", self.rng.randbytes(length))
            if count % 2 == 0:
                yield segment(a, "A")
        yield segment(a, "FA")
        yield segment(b, "FA")
        yield segment(a, "A")

    def conversation(self):
        a, b = self.rng.sample(self.stations, 2)
        kind = self.rng.choices((self.page, self.call, self.name, self.ping, self.arp), weights=(6, 4, 4, 2, 2))[0]
        return kind(a, b, self.rng.choice((0, 0, 0, 100, 200)), self.rng.random() < 0.3)


def make_frames(count=FRAMES, seed=1):
    """`count` CapturedFrames of several conversations at a time, in the order in which they pass."""
    sample = Sample(seed)
    running, frames, time_ns = [], [], BEGAN_NS
    while len(frames) < count:
        while len(running) < 8:
            running.append(sample.conversation())
        conversation = sample.rng.choice(running)
        packet = next(conversation, None)
        if packet is None:
            running.remove(conversation)
            continue
        time_ns += sample.rng.randrange(300, 20_000)
        frames.append(CapturedFrame(bytes(packet).ljust(SHORTEST, b"\0"), time_ns))
    return frames


def main():
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else SAMPLE
    path.parent.mkdir(exist_ok=True)
    frames = make_frames()
    write_capture(path, frames)
    print(f"{path}: {len(frames)} frames, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
