"""make bench: its figures follow from what was counted, what it refuses, and rows of the smallest card."""

import json

import pytest

from hdl.config import NicConfig
from model.link import Link, Traffic
from sim import bench

COUNTED = {
    "sent": 3000, "received": 2000, "window_ns": 100_000, "max_payload": 256, "max_read_request": 512,
    "pcie": {"in_flight": {"mean": 40.0, "max": 60}, "descriptors_per_fetch": 16.0, "used_per_write": 8.0,
             "up_bytes": 320_000, "down_bytes": 400_000, "doorbells": 100, "messages": 50}}


@pytest.mark.parametrize("direction, packets", [("tx", 3000), ("rx", 2000), ("both", 2000)])
def test_figures(direction, packets):
    row = bench._figures(COUNTED, NicConfig(), direction, "gen3x8", 60)
    assert row["packets"] == packets
    assert row["mpps"] == pytest.approx(packets / 100)
    assert row["bound_mpps"] == pytest.approx({"tx": 69.7, "rx": 66.8, "both": 48.4}[direction], abs=0.05)
    assert row["bound_by"] == "link" and row["ratio"] == pytest.approx(row["mpps"] / row["bound_mpps"])
    assert (row["up_formula"], row["down_formula"]) == Traffic(direction, 60).bytes()
    assert row["up_bytes"] == pytest.approx(320_000 / packets)
    assert row["up_busy"] == pytest.approx(320_000 / Link("gen3x8").spec_bytes(100_000))
    assert row["doorbells_per_packet"] == pytest.approx(100 / packets)
    assert row["messages_per_packet"] == pytest.approx(50 / packets)


@pytest.mark.parametrize("arguments, word", [
    (["--config", "huge"], "'huge'"), (["--link", "usb"], "'usb'"), (["--profile", "mars"], "'mars'"),
    (["--frame", "13"], "13"), (["--set", "width=64"], "64"),
])
def test_refusals(capsys, arguments, word):
    assert bench.main(arguments) == 2
    out, err = capsys.readouterr()
    assert err.startswith("bench: ") and err.count("\n") == 1 and word in err and out == ""


def test_rows_of_the_smallest_card(capsys, monkeypatch, tmp_path):
    """Rates, bytes and batches are those of a loaded card, and nothing passes what the link or the bus can carry."""
    monkeypatch.setattr(bench, "RESULTS", tmp_path)
    assert bench.main(["--config", "tiny", "--quick", "--jobs", "1"]) == 0, capsys.readouterr().err
    rows = json.loads((tmp_path / "bench.json").read_text())["rows"]
    assert [row["direction"] for row in rows] == ["tx", "rx", "both"]
    for row in rows:
        assert row["bound_by"] == "bus"         # 128 bits are narrower than the link
        assert 0.3 < row["ratio"] < 1.1
        assert row["up_busy"] < 1.01 and row["down_busy"] < 1.01
        assert row["packets"] == round(row["mpps"] * row["window_us"])
        assert row["messages_per_packet"] == 0
    tx, rx, both = rows
    assert tx["rx_mpps"] == 0 == rx["tx_mpps"]
    assert tx["reads_in_flight_max"] > 8
    assert both["tx_mpps"] == pytest.approx(both["rx_mpps"], rel=0.1)
    assert "written to" in capsys.readouterr().out
