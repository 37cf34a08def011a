"""The performance model: when each packet reaches each stage of the card, and what the card does in the steady state.

    answer, = simulate([Scenario(card=Card(tags=64), host=Host(profile="1us"), pattern=Pattern(direction="tx"))])
    answer.mpps, answer.bottleneck, answer.times["tx"]["data_issued"]
    steady_state(scenarios).mpps

`simulate` follows packets through prefix scans, `steady_state` takes the smallest of what each resource allows. What
the card itself takes is in constants.json; `make calibrate` measures it, `make validate` tells how far both are from
the RTL.

What it follows one by one: looks at rings and what each finds, how they grow and what is looked for in vain; runs of
used descriptors; which queue's turn it is; the windows of tags, caches, rings and of `ReadWindow`.

Known simplifications. Errors are those of the rate against the RTL, in the calibration half of `make validate`.

- What packets share (descriptors, used descriptors, events, doorbells) is charged to each packet in equal parts, on the
  link and on `rq` and `rc`. Where the link is the limit up to 2.5 %, where `rq` is up to 6 %.
- Rings of 64 and 128 descriptors with round trips as long as what they hold: whether a look comes just before or just
  after the driver's next batch decides about a round trip. Usually up to 15 %, once 23 and once 35 %. Rings are taken
  to begin one descriptor behind a line of memory; drivers put them anywhere.
- Few tags: from 10 % too slow, with tables of descriptors, to 12 % too fast, with frames of many reads.
- A cache that is smaller than a round trip needs: up to 10 % either way.
- Of both ways at once, `rq` serves the direction with more TLPs last. Where these are nearly alike it may be the other
  one that waits: the rates hold, but the latencies of the two change places, and half of those both ways at once are
  beyond 6 %, some several times what they are.
- Frames that several queues receive come in bunches of a whole run of used descriptors; the card's bunches may be
  smaller. The rate holds, latencies are up to 20 % off.
- Host latencies are drawn anew, not in the order in which the testbench draws them. With long tails one run is 4 % from
  the RTL transmitting, and 10 % receiving, where few reads decide.
- What a turn costs is not modelled: 128 queues that transmit are far too fast.
- Frames of several lengths in one pattern share one window of tags, that of the longest.
- No read fails, no frame is dropped, and the driver's processor costs nothing.
"""

from .answer import Answer, simulate
from .constants import CONSTANTS, Constants
from .parameters import Card, Host, ParameterError, Pattern, Scenario
from .side import STAGES
from .steady import RESOURCES, Steady, steady_state

__all__ = ["CONSTANTS", "Answer", "Card", "Constants", "Host", "ParameterError", "Pattern", "RESOURCES", "STAGES",
           "Scenario", "Steady", "simulate", "steady_state"]
