"""Runs `bench_bfm.py` and `bench_misuse.py`: host and MAC at the ports of a card without anything inside."""

import json
from pathlib import Path

import pytest

from sim.compiled import environment_library
from sim.simulators import build, run

WIRES = Path(__file__).with_name("bfm_wires.v")


@pytest.mark.parametrize("module, tests", [("bench_bfm", 11), ("bench_misuse", 7)])
def test_models_at_the_ports(module, tests, tmp_path):
    outcome = run(build("icarus", "bfm_wires", [WIRES]), f"testbench.unit.{module}", directory=tmp_path)
    assert outcome.ok, outcome.summary()
    assert len(outcome.passed) == tests


# Those that need neither stalls nor completions that nobody asked for.
COMPILED = {
    "bench_bfm": [
        "configuration_and_registers", "rules_follow_configuration_writes", "writes_messages_and_interrupts",
        "saturated_link_and_reads_on_hold", "frames_in_both_directions", "frames_at_a_line_rate",
        "reset_forgets_what_is_under_way"],
    "bench_misuse": [
        "dropped_valid_is_noticed", "changed_payload_is_noticed", "broken_keep_is_noticed",
        "a_gap_in_a_frame_is_noticed", "a_receiver_that_is_not_ready_is_noticed",
        "what_the_device_may_not_touch_fails_the_test", "what_the_device_may_not_send_fails_the_test"],
}


@pytest.mark.parametrize("module", COMPILED)
def test_compiled_models_at_the_ports(module, tmp_path):
    tests = COMPILED[module]
    outcome = run(build("icarus", "bfm_wires", [WIRES]), f"testbench.unit.{module}", tests=tests, directory=tmp_path,
                  environment={"NIC_RUN": json.dumps({"compiled": str(environment_library("icarus"))})})
    assert outcome.ok, outcome.summary()
    assert sorted(outcome.passed) == sorted(tests)
