"""The performance model: when each packet reaches each stage of the card, and what the card does in the steady state.

    answer, = simulate([Scenario(card=Card(tags=64), host=Host(profile="1us"), pattern=Pattern(direction="tx"))])
    answer.mpps, answer.bottleneck, answer.times["tx"]["data_issued"]
    steady_state(scenarios).mpps

`simulate` follows the card, the link, the host and the driver cycle by cycle: `cycle` has the stages of `hdl`, without
the bytes, as loops over NumPy records that Numba compiles. `steady_state` takes the smallest of what each resource
allows, for many scenarios at once. What the card takes beyond the stages that are followed is in constants.json; `make
calibrate` measures it, `make validate` tells how far both are from the RTL.

From the same seed the host draws the same latencies as in the testbench. So as long as reads come in the same order,
runs of one queue are those of the RTL to the cycle; from the first read that comes in another order on, they are alike
only on average. With rings of 64 and 128 descriptors, few tags or a host with spread, where a look at a ring comes just
before or just after what the driver does, that is worth up to 8 % of the rate in a window of some hundred packets.

Known simplifications. Errors are those of the rate against the RTL, in the calibration half of `make validate`.

- Rings of 64 in order that are offered less than they carry: 17 % too fast, once.
- Both ways at once: latencies of received frames, which stand behind a few reads or writes, are up to 18 % off.
- Small caches: 6 % too fast.
- Before a load of several queues, the testbench talks to the control queue and sends a frame on each queue. Here the
  rings only begin one descriptor later, and the latencies drawn are others.
- Tables of descriptors lie in lines of their own, and buffers begin pages.
- Every packet has one descriptor in its ring, of its buffer or of a table of two elements.
- No read fails, no frame is dropped, no interrupt is sent, and the driver's processor costs nothing.
"""

from .answer import Answer, simulate
from .constants import CONSTANTS, Constants
from .parameters import Card, Host, ParameterError, Pattern, Scenario
from .steady import RESOURCES, Steady, steady_state

STAGES = {
    "tx": ("doorbell", "fetch_issued", "descriptor_there", "data_issued", "data_there", "first_beat", "last_beat",
           "used_written", "msix"),
    "rx": ("doorbell", "fetch_issued", "descriptor_there", "first_beat", "last_beat", "data_issued", "data_there",
           "used_written", "msix"),
}

__all__ = ["CONSTANTS", "Answer", "Card", "Constants", "Host", "ParameterError", "Pattern", "RESOURCES", "STAGES",
           "Scenario", "Steady", "simulate", "steady_state"]
