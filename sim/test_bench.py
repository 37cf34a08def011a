"""make bench: its figures follow from what was counted, what it refuses, and rows of the smallest card."""

import itertools
import json
import struct

import pytest

from hdl.config import NicConfig
from hdl.generate import configuration
from model.ideal import in_order_mpps
from model.link import Link, Policy, Traffic
from sim import bench, bench_speed
from sim.bench_plot import plot_sizes
from sim.bench_rows import LONGEST, POLICIES, TARGETS, Row, Target, rows, targets
from sim.reference import build_reference, run_reference
from sim.rtl import TOP, verilog_of
from sim.simulators import build

COUNTED = {
    "sent": [1000, 2000], "received": [1000, 1000], "warm_up_ns": 20_000, "window_ns": 100_000,
    "max_payload": 256, "max_read_request": 512,
    "pcie": {"in_flight": {"mean": 40.0, "max": 60}, "descriptors_per_fetch": 16.0, "used_per_write": 8.0,
             "up_bytes": 320_000, "down_bytes": 400_000, "doorbells": 100, "messages": 50,
             "up": {"read event": {"tlps": 250}}}}


@pytest.mark.parametrize("direction, packets", [("tx", 3000), ("rx", 2000), ("both", 2000)])
def test_figures(direction, packets):
    row = bench._figures(COUNTED, Row(group="sizes", direction=direction), NicConfig())
    assert row["packets"] == packets
    assert row["mpps"] == pytest.approx(packets / 100)
    assert row["bound_mpps"] == pytest.approx({"tx": 69.7, "rx": 66.8, "both": 48.4}[direction], abs=0.05)
    assert row["bound_by"] == "link" and row["ratio"] == pytest.approx(row["mpps"] / row["bound_mpps"])
    assert (row["up_formula"], row["down_formula"]) == Traffic(direction, 60).bytes()
    assert row["up_bytes"] == pytest.approx(320_000 / packets)
    assert row["up_busy"] == pytest.approx(320_000 / Link("gen3x8").spec_bytes(100_000))
    assert row["doorbells_per_packet"] == pytest.approx(100 / packets)
    assert row["messages_per_packet"] == pytest.approx(50 / packets)
    # 3000 frames out and 2000 in, by batches of 16, 8, 50, 100 and 20
    policy = Policy(fetch=16, used=8, doorbell=50, message=100, event=20)
    out, in_ = (Traffic(name, 60, policy).bytes() for name in ("tx", "rx"))
    assert row["up_to_formula"] == pytest.approx(320_000 / (3000 * out[0] + 2000 * in_[0]))
    assert row["down_to_formula"] == pytest.approx(400_000 / (3000 * out[1] + 2000 * in_[1]))
    assert row["fairness"] == pytest.approx(0.9)        # (1000 + 2000)² / (2 * (1000² + 2000²))


@pytest.mark.parametrize("direction, before", [("tx", 40), ("rx", 70), ("both", 40)])
def test_the_ideal_device_has_the_same_round_trips(direction, before):
    """And its packets are counted behind as many as had passed before the window."""
    row = Row(group="profiles", direction=direction, profile="e3-tail")
    counted = COUNTED | {"sent": [300], "received": [300], "before": [40, 70],
                         "trips": {"ring": [1500.0, 700.0, 4000.0], "tx": [600.0] * 90 + [40_000.0]}}
    figures = bench._figures(counted, row, NicConfig())
    assert figures["ideal_mpps"] == in_order_mpps(
        direction, 60, fetches=[1500.0, 700.0, 4000.0], data=[600.0] * 90 + [40_000.0], first=before, packets=300)
    assert figures["of_ideal"] == pytest.approx(figures["mpps"] / figures["ideal_mpps"])
    usual = bench._figures(COUNTED, Row(group="sizes", direction=direction), NicConfig())
    assert usual["ideal_mpps"] is None is usual["of_ideal"]


def test_the_bound_follows_the_row():
    """The smallest of link, bus, tags and ring, at the policy's cost."""
    def bound(config=NicConfig(), **row):
        return Row(group="sizes", **{"direction": "tx"} | row).bound(config, mps=256, mrrs=512)
    assert bound().name == "link"
    assert bound(link="gen3x16").name == "bus" and bound(link="gen3x16").mpps == pytest.approx(108.1, abs=0.05)
    assert bound(policy="in-order").mpps == pytest.approx(71.2, abs=0.05)
    assert bound(direction="both", link="gen4x16", policy="indirect").mpps < bound(direction="both").mpps * 2
    slow = bound(NicConfig(tags=64), profile="e3-tail")
    assert slow.name == "tags" and slow.mpps == pytest.approx(64e3 / 1213 / (1 + 1 / 16 + 1 / 16))
    assert bound(profile="2us", ring=64).name == "ring"
    assert bound(profile="2us", ring=64, queues=8).name != "ring"


def test_the_bound_of_packets_to_be_segmented():
    """On a wide link the clock at the wire: each segment is whole beats. 65495 bytes are 44 segments of 1460 and 1255
    bytes, behind headers of 54: 24 and 21 beats of 64 bytes."""
    def bound(link, policy="tso4"):
        return Row(group="segments", direction="tx", frame=LONGEST, ring=64, link=link, policy=policy).bound(
            NicConfig(), mps=256, mrrs=512)
    wide = bound("gen4x16")
    assert wide.name == "clock" and wide.mpps == pytest.approx(250 / (44 * 24 + 21))
    assert bound("gen4x16", "tso6").mpps == pytest.approx(250 / (45 * 24 + 12))
    assert bound("gen4x16", "uso").mpps == pytest.approx(250 / (44 * 24 + 13))
    assert bound("gen3x8").name == "link"
    for policy in ("tso4", "tso6", "uso"):
        assert sum(POLICIES[policy].segments_of(LONGEST - 4)) > LONGEST
        assert POLICIES[policy].segments_of(1514) == [1514]
    assert POLICIES["plain"].segments_of(1514) is None


def test_both_ways_are_measured_longer():
    """Whatever makes the window long: one way gains on the other until what lies between them is full."""
    card = NicConfig()
    for frame, profile, least in ((64, "e5-warm", 200_000), (9018, "e5-warm", 1_111_111), (64, "e3-tail", 200_000)):
        both, alone = (Row(group="sizes", direction=name, frame=frame, profile=profile) for name in ("both", "tx"))
        assert both.window(card, 40_000) >= max(least, alone.window(card, 40_000))


def test_the_warm_up_of_many_queues():
    """As many packets as all caches hold descriptors, twice, at 69.7 Mpps; a ring may be shorter than a cache."""
    def warm_up(queues, config, ring=1024):
        return Row(group="queues", direction="tx", queues=queues, ring=ring).warm_up(config, 20_000.0)
    assert warm_up(1, NicConfig()) == 20_000
    assert warm_up(8, NicConfig()) == pytest.approx(2 * 8 * 256 / 0.0697, rel=1e-3)
    assert warm_up(8, NicConfig(), ring=64) == 20_000
    full = NicConfig(cache_descriptors=64, pairs=128)
    assert warm_up(128, full, ring=256) == pytest.approx(2 * 128 * 64 / 0.0697, rel=1e-3)


def test_a_longer_header_costs_more():
    """8 bytes more to be carried, so the ratio to the bound is compared in place of the rate."""
    def bound(policy):
        return Row(group="offloads", direction="rx", policy=policy).bound(NicConfig(), mps=256, mrrs=512).mpps
    assert bound("offloads") == bound("plain") == pytest.approx(66.8, abs=0.05)
    assert bound("hashes") == pytest.approx(66.8 * 116.4 / 124.4, abs=0.05)


def test_every_row_that_is_promised():
    found = rows()
    names = {str(row) for row in found}
    assert len(names) == len(found)
    sizes = [row for row in found if row.group == "sizes"]
    assert {(row.direction, row.frame, row.link, row.policy) for row in sizes} == set(itertools.product(
        ("tx", "rx", "both"), (64, 65, 128, 256, 512, 1024, 1518, 9018), ("gen3x8", "gen3x16"),
        ("plain", "notification", "in-order", "indirect")))
    assert {row.queues for row in found if row.group == "queues"} == {1, 8, 64, 128}
    assert {row.direction for row in found if row.group == "interrupts"} == {"tx", "rx", "both"}
    assert {(row.direction, row.frame, row.link, row.policy) for row in found if row.group == "offloads"} == set(
        itertools.product(("tx", "rx", "both"), (64, 1518), ("gen3x8", "gen3x16"), ("offloads", "hashes")))
    assert {(row.link, row.policy) for row in found if row.group == "segments"} == set(
        itertools.product(("gen3x8", "gen3x16", "gen4x16"), ("tso4", "tso6", "uso")))
    assert [(row.queues, row.direction) for row in found if row.group == "scaling"] == [(8, "rx")]
    assert {row.base for row in found} - {None} <= {row.place for row in found}
    assert {row.profile for row in found if row.group == "profiles"} == {"e5-warm", "e5-dram", "iommu-4k", "e3-tail"}
    assert {row.config for row in rows(config="tiny")} == {"tiny", "full"}


def test_targets():
    """Each meets rows; one that is missed is named, and one that cannot be judged is not."""
    found = rows()
    for group, fields, target in TARGETS:
        assert any(target in targets(row) for row in found), (group, fields)
    one, eight = (Row(group="queues", direction="rx", queues=queues) for queues in (1, 8))
    slow = Row(group="tolerance", direction="tx", profile="2us")
    measured = {one: {"mpps": 60.0, "fairness": 1.0}, eight: {"mpps": 56.0, "fairness": 0.98}, slow: {"mpps": 1.0}}
    bench._compare(measured)
    assert [figures["below"] for figures in measured.values()] == [[], ["fairness ≥ 0.99", "of_base ≥ 0.95"], []]
    assert measured[eight]["of_base"] == pytest.approx(56 / 60)
    sleeping = {Row(group="interrupts", direction="tx", policy="coalesced"): {"mpps": 1.0, "packets_per_message": 63.9}}
    bench._compare(sleeping)
    assert [figures["below"] for figures in sleeping.values()] == [["packets_per_message ≥ 64"]]


def test_what_offloads_cost():
    """2 % of the rate, or with a longer header 2 % of the ratio; rows without are what they are compared with."""
    plain = Row(group="sizes", direction="rx")
    offloads, hashes = (Row(group="offloads", direction="rx", policy=policy) for policy in ("offloads", "hashes"))
    scaled, segments = (Row(group="scaling", direction="rx", queues=8, policy="scaling"),
                        Row(group="segments", direction="tx", frame=LONGEST, policy="uso", ring=64))
    measured = {plain: {"mpps": 50.0, "ratio": 1.0}, offloads: {"mpps": 48.9, "ratio": 0.978},
                hashes: {"mpps": 46.0, "ratio": 0.981}, scaled: {"mpps": 50.0, "fairness": 0.989},
                segments: {"mpps": 0.1, "ratio": 0.969}}
    bench._compare(measured)
    assert [figures["below"] for figures in measured.values()] == [
        [], ["of_base ≥ 0.98"], [], ["fairness ≥ 0.99"], ["ratio ≥ 0.97"]]
    assert measured[hashes]["of_base"] == pytest.approx(0.92) and measured[hashes]["base_mpps"] == 50.0


@pytest.mark.parametrize("arguments, word", [
    (["--config", "huge"], "'huge'"), (["--match", "nonsense"], "'nonsense'"), (["--set", "width=64"], "64"),
])
def test_refusals(capsys, arguments, word):
    assert bench.main(arguments) == 2
    out, err = capsys.readouterr()
    assert err.startswith("bench: ") and err.count("\n") == 1 and word in err and out == ""


def test_rows_of_the_smallest_card(capsys, monkeypatch, tmp_path):
    """Rates, bytes and batches are those of a loaded card, and nothing passes what the link or the bus can carry."""
    monkeypatch.setattr(bench, "RESULTS", tmp_path)
    _without_targets(monkeypatch)
    assert bench.main(["--config", "tiny", "--quick", "--jobs", "1"]) == 0, capsys.readouterr().err
    result = json.loads((tmp_path / "bench.json").read_text())
    measured = result["rows"]
    assert [row["direction"] for row in measured] == ["tx", "rx", "both"]
    for row in measured:
        assert row["bound_by"] == "bus"         # 128 bits are narrower than the link
        assert 0.3 < row["ratio"] < 1.1
        assert row["up_busy"] < 1.01 and row["down_busy"] < 1.01
        assert row["packets"] == round(row["mpps"] * row["window_us"])
        assert row["messages_per_packet"] == 0
    tx, rx, both = measured
    assert tx["rx_mpps"] == 0 == rx["tx_mpps"]
    assert tx["reads_in_flight_max"] > 8
    assert both["tx_mpps"] == pytest.approx(both["rx_mpps"], rel=0.1)
    idle, = result["latency"]
    assert idle["reads"] == [2]
    assert 30 < idle["transmit"]["min"] <= idle["transmit"]["max"] < 90 > idle["used"]["max"] > 5
    assert 10 < idle["message"]["min"] <= idle["message"]["max"] < 60
    said = capsys.readouterr().out
    assert "written to" in said and "simulation at saturation" in said
    _again(monkeypatch, capsys, measured)
    speed, = result["speed"]
    assert speed["ratio"] == pytest.approx(speed["testbench_hz"] / speed["reference_hz"])
    assert 0.05 < speed["ratio"] < 1
    _reference_notices(tmp_path / "bench" / str(Row(group="sizes", direction="both", config="tiny")) / "record.bin")


def test_the_fastest_run_of_each_kind_counts(monkeypatch):
    """What event taps cost is told where the card with taps was run, and nowhere else."""
    seconds = {"ours": [5.0, 4.0, 6.0], "alone": [2.5, 2.0, 3.0], "tapped": [4.8, 5.0, 4.4]}
    monkeypatch.setattr(bench_speed, "build_reference", lambda built: "program")
    monkeypatch.setattr(bench_speed, "run_reference", lambda program, record: seconds["alone"].pop(0))

    def run(job):
        return {"cpu_seconds": seconds["ours"].pop(0) if not job else 99.0, "cycles": 8000}

    def run_tapped():
        return {"cpu_seconds": seconds["tapped"].pop(0)}
    untapped = bench_speed.measure_speed(run, None, "record")
    assert untapped == {"cycles": 8000, "testbench_hz": 2000.0, "reference_hz": 4000.0, "ratio": 0.5}
    seconds |= {"ours": [5.0, 4.0, 6.0], "alone": [2.5, 2.0, 3.0]}
    found = bench_speed.measure_speed(run, None, "record", run_tapped=run_tapped)
    assert found == untapped | {"tapped_hz": pytest.approx(8000 / 4.4), "slower_with_taps": pytest.approx(0.1)}


def _without_targets(monkeypatch):
    """They are those of a wide card."""
    monkeypatch.setattr(bench, "targets", lambda row: [])


def _again(monkeypatch, capsys, measured):
    """What was measured is not run once more, but judged: the exit status and the table tell what is below its
    target."""
    monkeypatch.setattr(bench, "run", None)
    monkeypatch.setattr(bench, "_speeds", lambda *_, **__: [])
    monkeypatch.setattr(bench, "targets", lambda row: [Target("ratio", 2 if row.direction == "rx" else 0)])
    arguments = ["--config", "tiny", "--quick", "--jobs", "1", "--match", "sizes-*"]
    assert bench.main(arguments) == 1
    said, complaint = capsys.readouterr()
    assert "3 rows, 3 of them measured before" in said and said.count("below") == 1
    assert complaint.count("below its target: ratio ≥ 2") == 1 == complaint.count("sizes-rx-")
    _without_targets(monkeypatch)
    result = json.loads((bench.RESULTS / "bench.json").read_text())
    assert [row["mpps"] for row in result["rows"]] == [row["mpps"] for row in measured]


def _reference_notices(record):
    """What the RTL alone sends is compared, beat by beat."""
    config = configuration("tiny")
    program = build_reference(build("verilator", TOP, [verilog_of(config)], label=config.name))
    good = record.read_bytes()
    assert run_reference(program, record) > 0
    header = struct.unpack_from("<4I", good)
    beats = 16 + header[2]
    middle = beats + 8 + 4          # of the first beat: its second word
    for bad in (good[:middle] + bytes([good[middle] ^ 1]) + good[middle + 1:],              # another value
                good[:beats] + struct.pack("<I", 1) + good[beats + 4:],                     # another cycle
                struct.pack("<4I", *header[:3], 0) + good[16:beats]):                       # no beat at all
        record.write_bytes(bad)
        with pytest.raises(AssertionError, match="not as recorded"):
            run_reference(program, record)


def test_the_picture_has_every_line(tmp_path):
    measured = [{"group": "sizes", "direction": row.direction, "frame": row.frame, "link": row.link,
                 "policy": row.policy, "ratio": 0.9 + row.frame / 1e5} for row in rows() if row.group == "sizes"]
    plot_sizes(measured, tmp_path / "ratio.png")
    assert (tmp_path / "ratio.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "ratio.png").stat().st_size > 20_000
