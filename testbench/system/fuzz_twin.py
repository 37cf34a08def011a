"""The functional card beside the RTL, with a reference driver of its own, in memory of its own."""

from functools import partial

from model.device import OFFERED_ALL, FunctionalNic, NicParameters
from model.memory import HostMemory
from model.steering import Steering
from testbench.driver.direct import DirectHost
from testbench.driver.net import Nic
from testbench.unit.flows import FlowModel

__all__ = ["CardSteering", "Twin"]


class CardSteering(Steering):
    """As the card does it: flows share the entries of a table, and those that nobody sent are spread by their hash."""

    def __init__(self, most_pairs, *, entries):
        super().__init__(most_pairs)
        self._flows = FlowModel(entries)

    def transmitted(self, frame, pair):
        super().transmitted(frame, pair)
        self._flows.sent(frame, pair)

    def choose(self, frame, usable):
        return super().choose(frame, usable) if self.scaling else self._flows.queue(frame, self.pairs)


class Twin:
    """
    Parameters
    ----------
    bench : Bench
    mtu : bytes
    options : of `NicOptions`, as the driver of the RTL has them

    Attributes
    ----------
    card : FunctionalNic; all it does it does at once
    nic : Nic, its driver
    sent : list of the frames that have left; the owner may empty it
    """

    def __init__(self, bench, mtu, **options):
        parameters = NicParameters(
            pairs=bench.parameter("pairs"), queue_size_max=bench.parameter("queue_size_max"), mtu=mtu,
            offered=OFFERED_ALL, max_frame=bench.parameter("max_mtu") + 22, rx_buffer=1 << 30)
        self.card = FunctionalNic(HostMemory(), parameters,
                                  steering=partial(CardSteering, entries=bench.parameter("flow_entries")))
        self.sent = []
        self.card.datapath.wire = self.sent.append
        self.nic = Nic(DirectHost(self.card, bench.platform), bench.platform, **options)
