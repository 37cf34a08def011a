"""What the card says of the frames that it receives."""

from model.formats import Feature, feature_set
from model.offloads_checksum import BAD, NONE, VALID, checksum_verdict
from testbench.driver.options import WANTED
from testbench.driver.receive_header import ReceivedFrame
from testbench.system.case import system_test
from testbench.unit.traffic import offload_frame

CHECKSUM = WANTED | feature_set(Feature.NET_GUEST_CSUM)


@system_test("NET-056", "NET-085", "NET-086", presets=("tiny", "default"), timeout_us=4000)
async def tells_which_checksums_are_right(bench):
    """Bad frames come like all others, but without the flag; without the feature nothing is said, before or after."""
    for wanted in (WANTED, CHECKSUM, WANTED):
        nic = await bench.nic(wanted=wanted, queue_size=8)
        frames = [offload_frame(bench.random) for _ in range(60)]
        assert {checksum_verdict(frame) for frame in frames} == {NONE, VALID, BAD}
        for frame in frames:
            bench.mac.send(frame)
            received = await nic.receive(timeout_ns=50_000)
            assert received == frame
            assert isinstance(received, ReceivedFrame) == (wanted == CHECKSUM)
            if wanted == CHECKSUM:
                assert received.checksum_valid == (checksum_verdict(frame) == VALID), frame.hex()
        await nic.stop()
