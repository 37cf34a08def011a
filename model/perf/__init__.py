"""The performance model: when each packet reaches each stage of the card, and what the card does in the steady state.

    answer, = simulate([Scenario(card=Card(tags=64), host=Host(profile="1us"), pattern=Pattern(direction="tx"))])
    answer.mpps, answer.bottleneck, answer.times["tx"]["data_issued"]
    steady_state(scenarios).mpps

`simulate` follows the card, the link, the host and the driver cycle by cycle: `cycle` has the stages of `hdl`, without
the bytes, as loops over NumPy records that Numba compiles. `steady_state` takes the smallest of what each resource
allows, for many scenarios at once. What the card takes beyond the stages that are followed is in constants.json; `make
calibrate` measures it, `make validate` tells how far both are from the RTL.

From the same seed the host draws the same latencies as in the testbench, and `cycle` has every register that decides
about an order. 9 of 10 configurations of `make validate` have the very rates and median latencies of the RTL, and in
runs that were compared TLP by TLP each came in the same cycle; for the others some choice falls out otherwise after
thousands of cycles. Rates are within 2 %, median latencies within 1.1 %.

Known simplifications, with the errors of `make validate`.

- Frames that are read in parts, of more than `PART_REQUESTS` requests, before a host with spread: rates within 1.2 %,
  latencies within 1.1 %. A tag whose request was never sent is over a set number of cycles later.
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
