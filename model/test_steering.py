"""Flows, and the pairs that their frames may be received on."""

import random

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, Dot1Q, Ether

from model.steering import Steering, flow_of

ETHER = {"src": "02:00:00:00:00:01", "dst": "02:00:00:00:00:02"}
TAGS = [Ether(**ETHER), Ether(**ETHER) / Dot1Q(vlan=5), Ether(**ETHER) / Dot1Q(vlan=5) / Dot1Q(vlan=6)]
THERE, BACK = {"src": "10.0.0.1", "dst": "10.0.0.2"}, {"src": "10.0.0.2", "dst": "10.0.0.1"}
THERE6, BACK6 = {"src": "fd00::1", "dst": "fd00::2"}, {"src": "fd00::2", "dst": "fd00::1"}


@pytest.mark.parametrize("there, back, other", [
    (IP(**THERE) / TCP(sport=1, dport=2), IP(**BACK) / TCP(sport=2, dport=1), IP(**BACK) / TCP(sport=1, dport=2)),
    (IP(**THERE) / UDP(sport=1, dport=2), IP(**BACK) / UDP(sport=2, dport=1), IP(**THERE) / TCP(sport=1, dport=2)),
    (IPv6(**THERE6) / TCP(sport=1, dport=2), IPv6(**BACK6) / TCP(sport=2, dport=1), IPv6(**BACK6) / TCP(dport=3)),
    (IP(**THERE) / ICMP(), IP(**BACK) / ICMP(), IP(src="10.0.0.3", dst="10.0.0.2") / ICMP()),
    (IP(options=b"\1" * 4, **THERE) / UDP(sport=1, dport=2), IP(**BACK) / UDP(sport=2, dport=1),
     IP(**THERE) / UDP(sport=1, dport=3)),
    # Fragments of one packet stay together, though only the first one has ports.
    (IP(flags="MF", **THERE) / UDP(sport=1, dport=2), IP(frag=9, **THERE) / UDP(sport=7, dport=8),
     IP(**THERE) / UDP(sport=1, dport=2)),
])
def test_both_directions_are_one_flow(there, back, other):
    for one in TAGS:
        for another in TAGS:
            flow = flow_of(bytes(one / there))
            assert flow is not None and flow == flow_of(bytes(another / back)) != flow_of(bytes(another / other))


@pytest.mark.parametrize("frame", [
    bytes(14), bytes(Ether() / ARP()), bytes(Ether() / IP(**THERE) / UDP())[:33], bytes(Ether() / IPv6())[:53]])
def test_frames_of_no_flow(frame):
    assert flow_of(frame) is None


def test_short_transport_headers_have_no_ports():
    cut = bytes(Ether() / IP(**THERE) / UDP())[:37]
    assert flow_of(cut) == flow_of(cut[:34]) != flow_of(bytes(Ether() / IP(**THERE) / UDP()))


def frame(client):
    return bytes(Ether(**ETHER) / IP(src="10.0.0.1", dst="10.0.0.2") / UDP(sport=client, dport=53))


def answer(client):
    return bytes(Ether(**ETHER) / IP(src="10.0.0.2", dst="10.0.0.1") / UDP(sport=53, dport=client))


def test_a_flow_goes_to_the_pair_that_last_sent_it():
    rng = random.Random(1)
    steering = Steering(4)
    sent = {}
    assert steering.legal(answer(1)) == {0}
    for _ in range(300):
        if rng.random() < 0.1:
            steering.set_pairs(rng.randint(1, 4))
        client, pair = rng.randrange(10), rng.randrange(steering.pairs)
        if rng.random() < 0.5:
            steering.transmitted(frame(client), pair)
            sent[client] = pair
        usable = set(rng.sample(range(4), rng.randint(0, 4)))
        active = set(range(steering.pairs))
        expected = {sent[client]} if sent.get(client) in active else active
        assert steering.legal(answer(client)) == expected
        expected = {sent[client]} if sent.get(client) in active & usable else active & usable
        assert steering.legal(answer(client), usable) == expected
        chosen = steering.choose(answer(client), usable)
        assert chosen in expected if expected else chosen is None
        assert chosen == steering.choose(answer(client), usable)


def test_frames_of_no_flow_may_go_anywhere():
    steering = Steering(3)
    steering.set_pairs(3)
    steering.transmitted(bytes(60), 2)
    assert steering.legal(bytes(60)) == {0, 1, 2}
