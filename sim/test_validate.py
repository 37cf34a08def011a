"""make validate and make calibrate: their bookkeeping, without a simulation."""

import itertools
import json

import numpy as np
import pytest

from model import perf
from model.perf import Constants
from sim import calibrate, perf_rtl, validate
from sim.perf_cases import BUILDS, Setting, calibration_half, draw_settings, held_out_half
from sim.perf_model import scenario_of
from sim.perf_stages import stages_of
from sim.validate_report import Compared, Idle, Speed, limits, within, write_report

FAST = Speed(5e3, 2e6, 1.0, 5e-5)


def compared(rate=1.0, latency=1.0, **setting):
    return Compared(Setting(build="wide", direction="tx", **setting), False, 10.0, 10.0 * rate, 10.0, "link down",
                    {"tx": 500.0}, {"tx": 500.0 * latency})


def test_settings_are_drawn_the_same_again_and_split():
    drawn = draw_settings(200)
    assert draw_settings(60) == drawn[:60]
    assert len({setting.key for setting in drawn}) == 200
    calibrated, held_out = calibration_half(drawn), held_out_half(drawn)
    assert len(calibrated) == len(held_out) == 100
    assert not {setting.key for setting in calibrated} & {setting.key for setting in held_out}
    for half in (calibrated, held_out):
        assert {setting.build for setting in half} == set(BUILDS)
        assert len({setting.policy for setting in half}) == 4 and len({setting.profile for setting in half}) == 6


def test_every_setting_can_be_modelled():
    for setting in draw_settings(200):
        scenario = scenario_of(setting)
        assert scenario.card.tags == setting.card.tags and scenario.pattern.lengths == (setting.length,)
        assert scenario.pattern.saturated == (setting.load is None)


def test_limits():
    good = [compared()] * 19 + [compared(rate=1.05)]
    assert all(ok for *_, ok in limits(good, [], FAST))
    assert [ok for *_, ok in limits(good + [compared(rate=0.96)], [], None)] == [False, True, True, True]
    assert [ok for *_, ok in limits([compared(rate=1.07)], [], None)] == [False, False, True, True]
    assert [ok for *_, ok in limits([compared(latency=0.9)], [], None)] == [True, True, False, True]
    off = [Idle(Setting(build="wide", direction="tx"), "tx", 300.0, 305.0)]
    assert [ok for *_, ok in limits([compared()], off, None)] == [True, True, True, False]
    assert [ok for *_, ok in limits([compared()], [], Speed(5e3, 9e5, 1.0, 1.1e-4))][-2:] == [False, False]
    assert within([], 0.1) == 1.0 and within([0.1, -0.2], 0.15) == 0.5


def test_the_report(tmp_path):
    errors = [compared(rate=1 + n / 100, frame=64 + n) for n in range(12)]
    write_report(tmp_path, errors, [], FAST, digest="abc", drawn=200, calibrated=())
    text = (tmp_path / "validation.md").read_text()
    assert "12 of 200 configurations run" in text and "MISSED" in text and "abc" in text
    worst = [line for line in text.splitlines() if line.startswith("| wide")]
    assert len(worst) == 10 and "+11.0%" in worst[0]
    assert len((tmp_path / "validation.csv").read_text().splitlines()) == 13
    assert (tmp_path / "validation.png").read_bytes().startswith(b"\x89PNG")


@pytest.fixture
def runner(tmp_path, monkeypatch):
    monkeypatch.setattr(perf_rtl, "RUNS", tmp_path)
    monkeypatch.setattr(perf_rtl, "rtl_digest", lambda: "digest")
    return perf_rtl.Runner()


def result_of(rate, direction="tx"):
    ways = ("tx", "rx") if direction == "both" else (direction,)
    return {"cpu_seconds": 1.0, "cycles": 1000, "burst": 32, "pcie": {}, "mpps": dict.fromkeys(ways, rate),
            "latency": dict.fromkeys(ways, {"median": 500.0, "min": 400, "p99": 600, "packets": 700})}


def keep(runner, setting, result, job="job_perf"):
    path = runner.path(setting, job)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result))


def test_a_run_is_kept_until_the_rtl_changes(runner, monkeypatch):
    setting = draw_settings(1)[0]
    assert runner.known(setting) is None
    keep(runner, setting, result_of(7.0))
    assert runner.known(setting)["mpps"] == {"tx": 7.0} == runner.measure(setting)["mpps"]
    assert runner.known(draw_settings(2)[1]) is None
    monkeypatch.setattr(perf_rtl, "rtl_digest", lambda: "another")
    assert perf_rtl.Runner().known(setting) is None


def test_only_what_is_not_known_is_run(runner, monkeypatch):
    settings = [Setting(build="wide", direction="tx", seed=seed) for seed in range(1, 6)]
    keep(runner, settings[2], result_of(1.0))
    ran = []

    def run(setting, module, job, summary):
        ran.append(setting.seed)
        if setting.seed == 4:
            raise perf_rtl.RunFailed("number four")
        keep(runner, setting, result_of(1.0), module)
    monkeypatch.setattr(runner, "_run", run)
    monkeypatch.setattr(runner, "build", lambda card: None)
    items = [(setting, "job_perf") for setting in settings]
    from rich.console import Console
    console = Console(quiet=True)
    assert validate.run_all(runner, items, 2, float("inf"), console) == ["number four"]
    assert sorted(ran) == [1, 2, 4, 5]
    assert validate.run_all(runner, items, 2, float("-inf"), console) == [] and len(ran) == 4
    validate.run_all(runner, items, 1, float("inf"), console)
    assert sorted(ran) == [1, 2, 4, 4, 5]


def test_nothing_run_yet(runner, capsys, tmp_path):
    assert validate.main(["--known", "--count", "3", "--out", str(tmp_path / "docs")]) == 1
    assert validate.main(["--count", "0"]) == 2
    assert capsys.readouterr().err.count("\n") == 2 and not (tmp_path / "docs").exists()


def test_a_whole_validation_of_what_is_known(runner, capsys, tmp_path):
    for setting in draw_settings(3):
        keep(runner, setting, result_of(7.0, setting.direction))
    assert validate.main(["--known", "--count", "4", "--out", str(tmp_path / "docs")]) == 1
    assert "3 of 4 configurations run" in capsys.readouterr().out
    assert (tmp_path / "docs" / "validation.csv").exists()


def test_speed_is_that_of_the_comparison(monkeypatch):
    """Packets that were compared with the RTL, in the time which that took: nothing that suits the model better, but
    not what is compiled before."""
    clock, calls = itertools.count(), []
    monkeypatch.setattr(validate.time, "process_time", lambda: float(next(clock)))

    def simulate(scenarios, **options):
        calls.append((next(clock), perf.simulate(scenarios, **options)))
        return calls[-1][1]
    monkeypatch.setattr(validate, "simulate", simulate)
    settings = draw_settings(3)
    found, speed = validate.compare(settings, [result_of(7.0, setting.direction) for setting in settings])
    (compiled, first), (_, answers) = calls
    assert compiled == 0 and len(first) == 1        # before the clock is read
    assert len(found) == 3 == len(answers)
    offered = [array for answer in answers for array in answer.offered.values()]
    # The clock goes on by 1 with the simulation itself.
    assert 2 * speed.model_packets == sum(np.isfinite(array).sum() for array in offered) > 0
    assert speed.rtl_packets == pytest.approx(700 * sum(len(each.rtl_latency) for each in found) / 3)
    assert [speed.rtl_seconds, speed.steady_seconds] == pytest.approx([1.0, 1 / 3])


TRANSMITTED = {"wire": [351, 352], "events": [
    [10, "doorbell", "", 0], [25, "read", "ring", 1], [276, "answer", "ring", 1], [300, "read", "tx", 2],
    [301, "read", "ring", 1], [330, "answer", "tx", 2], [355, "write", "ring", 0], [366, "read", "event", 4],
    [620, "answer", "event", 4], [622, "answer", "ring", 1], [636, "write", "msix", 0]]}
RECEIVED = {"wire": [90, 100], "events": [[117, "write", "rx", 0], [118, "write", "rx", 0], [128, "write", "ring", 0]]}


def test_stages_out_of_what_passed_the_ports():
    stages = stages_of({"transmitted": [TRANSMITTED], "received": [RECEIVED]})
    assert stages == {
        "doorbell_fetch": [15], "fetch_data": [24], "data_wire": [21], "trip": [251], "idle tx": [341],
        "data_used": [25], "used_event": [11], "event_message": [16], "wire_write": [18], "write_used": [10],
        "idle rx": [28]}


def test_the_fit_finds_what_was_put_in():
    settings = calibrate.stage_settings()
    measured = [(setting, {"data_wire": [17 + calibrate.rows_of(setting, "data_wire")] * 3, "fetch_data": [29, 30, 29],
                           "trip": [251]}) for setting in settings]
    cycles, residuals = calibrate.fit_stages(measured)
    assert cycles["data_wire"] == pytest.approx([17.0, 1.0], abs=0.01)
    assert cycles["fetch_data"] == [29, 0] and cycles["answer"] == [1, 0]
    assert max(abs(residual) for *_, residual in residuals) < 0.1


def test_what_short_frames_take_longer():
    """Two lengths tell it, since a write leaves at a beat a cycle."""
    settings = [Setting(build="wide", direction="both", frame=frame) for frame in (64, 1518)]
    measured = [(setting, {"wire_write": [11 + calibrate.rows_of(setting, "wire_write") + extra]})
                for setting, extra in zip(settings, (3, 0))]
    cycles, _ = calibrate.fit_stages(measured)
    assert cycles["wire_write"] == [11, 1] and cycles["parse"] == [3, 0]


def test_constants_are_read_as_they_are_written(tmp_path):
    constants = Constants.load()
    path = tmp_path / "constants.json"
    path.write_text(calibrate._as_text(constants))
    assert Constants.load(path) == constants


def test_constants_belong_to_an_rtl():
    constants = Constants.load()
    assert len(constants.rtl) == 16 and constants["walk_tx"] >= 1 and constants.of("data_wire", 2) > 10
