"""The performance model: when each packet reaches each stage of the card, and what the card does in the steady state.

    answer, = simulate([Scenario(card=Card(tags=64), host=Host(profile="1us"), pattern=Pattern(direction="tx"))])
    answer.mpps, answer.bottleneck, answer.times["tx"]["data_issued"]
    steady_state(scenarios).mpps

`simulate` follows packets through prefix scans, `steady_state` takes the smallest of what each resource allows. What
the card itself takes is in constants.json; `make calibrate` measures it, `make validate` tells how far both are from
the RTL.

Known simplifications. Errors are against runs of `make bench` on the 512-bit card, of up to 40 µs.

- What packets share (fetches, used descriptors, events, doorbells) is charged to each packet in equal parts, on the
  link and on `rq` and `rc`. With one queue: less than 1 % of the rate where link, bus or walker are the limit.
- Host latencies are drawn anew, not in the order in which the testbench draws them. With long tails (e3-tail) one run
  is 4 % from the RTL transmitting, and 10 % receiving, where few reads decide.
- Of both ways at once, `rq` serves the direction with more TLPs last. Until one has gained on the other as far as it
  can, their rates differ, and so does what a short window sees: up to 5 % of their mean.
- A cache that is smaller than a round trip needs is 6 % slower or 8 % faster than on the RTL, by how fetches happen to
  bunch.
- Queues take turns of whole blocks. 64 queues that receive a frame each in turn are 4 % slower than on the RTL; 128
  that transmit are far too fast (78 %): what a turn costs then is not modelled.
- Frames of several lengths in one pattern share one window of tags, that of the longest.
- So far lone packets of one card, of two lengths, have been measured. The cycles of tables (fetch_table, table_data,
  store_table), of `decide`, of chains received (walk_rx_chain) and of room in the cache (space) are first values, the
  last two from rows of `make bench`, until `make calibrate` has run on all its cards.
- No read fails, no frame is dropped, and the driver's processor costs nothing.
"""

from .answer import Answer, simulate
from .constants import CONSTANTS, Constants
from .parameters import Card, Host, ParameterError, Pattern, Scenario
from .side import STAGES
from .steady import RESOURCES, Steady, steady_state

__all__ = ["CONSTANTS", "Answer", "Card", "Constants", "Host", "ParameterError", "Pattern", "RESOURCES", "STAGES",
           "Scenario", "Steady", "simulate", "steady_state"]
