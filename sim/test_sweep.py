"""make sweep: what it refuses, that nothing is lost or doubled, and that a sweep goes on where it was left."""

import csv
import json
import os
import signal
import time

import pytest

from sim import sweep as tool
from sim.sweep_plot import area_of, pareto
from sim.sweep_points import FIGURES, setting_of_point
from sim.sweep_spec import SpecError, read_spec

GOOD = """
name = "small"
packets = 256
[fixed]
frame = 64
[vary]
tags = [32, 64]
direction = ["tx", "rx", "both"]
"""


def write(tmp_path, text):
    path = tmp_path / "spec.toml"
    path.write_text(text)
    return path


def table(directory, name="small"):
    with open(directory / f"{name}.csv") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("text, key", [
    ("tags = [", "document"), ("speed = 1\n[vary]\ntags=[32]", "speed"), ('kind = "all"\n[vary]\ntags=[32]', "kind"),
    ("name = 3\n[vary]\ntags=[32]", "name"), ('engine = "fpga"\n[vary]\ntags=[32]', "engine"),
    ("[fixed]\ntags = 32", "vary"), ("[vary]\ntags = []", "vary.tags"), ("[vary]\ntags = 32", "vary.tags"),
    ("[vary]\ntaggs = [32]", "taggs"), ("[fixed]\ncolour = 1\n[vary]\ntags = [32]", "colour"),
    ("[fixed]\ntags = 32\n[vary]\ntags = [64]", "vary.tags"), ("[vary]\ntags = [32, 32]", "twice"),
    ("[vary]\nwidth = [100]", "width"), ('[vary]\nlink = ["gen9x1"]', "gen9x1"), ('[vary]\ntags = ["many"]', "many"),
    ('kind = "random"\n[vary]\ntags = [32, 64]', "count"), ("count = 2\n[vary]\ntags = [32, 64]", "count"),
    ('plot = ["ring"]\n[vary]\ntags = [32]', "plot"), ("packets = 1\n[vary]\ntags = [32]", "packets"),
    ('[vary]\ncapture = ["/nowhere.pcap"]', "nowhere"), ("[fixed]\npace = true\n[vary]\ntags = [32]", "pace"),
    ('engine = "rtl"\n[vary]\ntags = [48]', "48"), ('engine = "rtl"\n[vary]\ngap_ns = [100.0]', "gap_ns"),
    ('[vary]\nframe = ["x"]', "frame"), ("[vary]\nseed = [-1]", "seed"),
])
def test_refusals(tmp_path, capsys, text, key):
    path = write(tmp_path, text)
    assert tool.main([str(path), "--out", str(tmp_path / "out")]) == 2
    out, err = capsys.readouterr()
    assert err.startswith("sweep: ") and err.count("\n") == 1 and str(path) in err and key in err and out == ""
    assert not (tmp_path / "out").exists()


def test_no_file_no_capture_no_scheduler(tmp_path, capsys, monkeypatch):
    assert tool.main([str(tmp_path / "none.toml")]) == 2
    broken = tmp_path / "broken.pcap"
    broken.write_bytes(b"not a capture")
    path = write(tmp_path, f'[fixed]\ncapture = "{broken}"\n[vary]\ntags = [32]')
    assert tool.main([str(path)]) == 2
    monkeypatch.setattr(tool, "PATIENCE", "1s")
    path = write(tmp_path, GOOD)
    assert tool.main([str(path), "--out", str(tmp_path / "out"), "--scheduler", "tcp://127.0.0.1:9"]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 3 and "none.toml" in err and "broken.pcap" in err and "tcp://127.0.0.1:9" in err
    assert not (tmp_path / "out").exists()


def test_grid(tmp_path):
    out = tmp_path / "out"
    assert tool.main([str(write(tmp_path, GOOD)), "--jobs", "1", "--out", str(out)]) == 0
    rows = table(out)
    assert [(row["tags"], row["direction"]) for row in rows] == [
        (tags, direction) for tags in ("32", "64") for direction in ("tx", "rx", "both")]
    assert list(rows[0]) == ["frame", "tags", "direction", *FIGURES]
    assert all(float(row["mpps"]) > 1 for row in rows)
    assert rows[0]["bottleneck"] == "tags" and rows[1]["mpps_tx"] == "" != rows[1]["mpps_rx"]
    assert float(rows[3]["mpps"]) > 1.5 * float(rows[0]["mpps"])
    for kind in ("rate", "bottleneck", "latency"):
        assert (out / f"small-{kind}.png").read_bytes().startswith(b"\x89PNG")


def test_random_points_are_different_and_the_same_again(tmp_path):
    text = 'kind = "random"\ncount = 5\nseed = 3\n[vary]\ntags = [32, 64, 128]\nframe = [64, 128, 256]'
    first, second = (read_spec(write(tmp_path, text)).points for _ in range(2))
    assert first == second and len({json.dumps(point) for point in first}) == 5
    assert first != read_spec(write(tmp_path, text.replace("seed = 3", "seed = 4"))).points


def test_an_interrupted_sweep_goes_on(tmp_path, monkeypatch):
    spec = read_spec(write(tmp_path, GOOD))
    monkeypatch.setattr(tool, "PART", 2)
    done = []

    def evaluate(engine, packets, points):
        done.extend(points)
        return [{"mpps": 1.0, "bottleneck": "tags"} for _ in points]

    def stop_early(sweep, parts, jobs):
        for numbers in parts[:2]:
            yield numbers, evaluate(*tool._task(sweep, numbers))
        raise KeyboardInterrupt
    monkeypatch.setattr(tool, "_on_this_machine", stop_early)
    store = tool.Store(tmp_path / "out", spec)
    with pytest.raises(KeyboardInterrupt):
        tool.run_sweep(spec, store)
    path, = (tmp_path / "out").glob("*.jsonl")
    path.write_text(path.read_text() + '\n{"point": 5, "ro')       # killed while it wrote
    monkeypatch.setattr(tool, "_on_this_machine", lambda sweep, parts, jobs: (
        (numbers, evaluate(*tool._task(sweep, numbers))) for numbers in parts))
    store = tool.Store(tmp_path / "out", spec)
    assert sorted(store.rows) == [0, 1, 2, 3]
    tool.run_sweep(spec, store)
    assert sorted(tool.Store(tmp_path / "out", spec).rows) == list(range(6))
    assert [json.dumps(point) for point in done] == [json.dumps(point) for point in spec.points]
    changed = read_spec(write(tmp_path, GOOD.replace("packets = 256", "packets = 512")))
    assert tool.Store(tmp_path / "out", changed).rows == {}


def test_what_is_known_is_not_kept_twice(tmp_path):
    spec = read_spec(write(tmp_path, GOOD))
    store = tool.Store(tmp_path / "out", spec)
    store.add([0, 1], [{"mpps": 1.0}, {"mpps": 2.0}])
    store.add([1, 2], [{"mpps": 9.0}, {"mpps": 3.0}])
    path, = (tmp_path / "out").glob("*.jsonl")
    assert len(path.read_text().split("\n")) == 1 + 3
    assert {number: row["mpps"] for number, row in tool.Store(tmp_path / "out", spec).rows.items()} == {
        0: 1.0, 1: 2.0, 2: 3.0}


def slow(engine, packets, points):
    time.sleep(0.3)
    return [{"mpps": float(point["tags"]), "worker": os.getpid()} for point in points]


def test_a_worker_that_dies_loses_and_doubles_nothing(tmp_path, monkeypatch):
    """Two workers of a cluster, one of them killed in mid-sweep."""
    from distributed import LocalCluster
    text = f'name = "many"\npackets = 256\n[vary]\ntags = {list(range(32, 56))}'
    spec = read_spec(write(tmp_path, text))
    monkeypatch.setattr(tool, "PART", 1)
    monkeypatch.setattr(tool, "evaluate", slow)
    added = []

    class Watched(tool.Store):
        def add(self, numbers, rows):
            added.extend(numbers)
            super().add(numbers, rows)
            if len(added) == 4:
                os.kill(rows[0]["worker"], signal.SIGKILL)
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
        store = Watched(tmp_path / "out", spec)
        tool.run_sweep(spec, store, scheduler=cluster.scheduler_address)
    assert sorted(added) == list(range(24))
    again = tool.Store(tmp_path / "out", spec)
    assert {number: row["mpps"] for number, row in again.rows.items()} == {n: 32.0 + n for n in range(24)}
    assert len({row["worker"] for row in again.rows.values()}) >= 2
    lines = [line for line in next((tmp_path / "out").glob("*.jsonl")).read_text().splitlines() if line]
    assert len(lines) == 24


def test_what_the_rtl_is_run_with():
    setting = setting_of_point({"tags": 64, "frame": 128, "in_order": True, "direction": "both"})
    assert setting.policy == "in-order" and setting.card.tags == 64 and setting.length == 124
    assert setting.key != setting_of_point({"tags": 128, "frame": 128, "in_order": True, "direction": "both"}).key
    with pytest.raises(SpecError, match="one of"):
        setting_of_point({"in_order": True, "indirect": True})


def test_area_and_pareto(tmp_path, monkeypatch):
    monkeypatch.setattr("sim.sweep_plot.BUILD", tmp_path)
    (tmp_path / "synth-default-tags64.json").write_text(json.dumps({"a": {"luts": 5}, "b": {"luts": 7}}))
    assert area_of({"tags": 64, "frame": 64}) == 12 and area_of({"tags": 32}) is None
    assert pareto([(3, 1.0), (1, 1.0), (2, 3.0), (2, 2.0), (5, 3.0), (6, 4.0)]) == [(1, 1.0), (2, 3.0), (6, 4.0)]
