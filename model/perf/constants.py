"""What the card itself takes, in cycles: measured on the RTL by `make calibrate`, kept as data beside this file."""

import json
from dataclasses import dataclass
from pathlib import Path

__all__ = ["CONSTANTS", "Constants"]

CONSTANTS = Path(__file__).with_name("constants.json")


@dataclass(frozen=True)
class Constants:
    """`cycles`: {name: (cycles, cycles for each row of data)}; `smooth`: how sharply the steady-state answer turns
    from one bottleneck to the next; `rtl`: digest of the RTL that was measured."""
    rtl: str
    cycles: dict
    smooth: float

    @classmethod
    def load(cls, path=CONSTANTS):
        return cls(**json.loads(Path(path).read_text()))

    @property
    def delays(self):
        """What `cycle` does not follow stage by stage: cycles of lone packets without those of the stages that it
        does follow. What is left of a cycle are beats that end a packet, which it follows too."""
        measured = {"doorbell_delay": self["doorbell_fetch"] - 8, "offer_delay": self["wire_write"] - 8,
                    "parse_delay": self["parse"], "wire_delay": self["data_wire"] - 6,
                    "message_delay": self["event_message"]}
        return {name: int(cycles) for name, cycles in measured.items()}

    def __getitem__(self, name):
        return self.cycles[name][0]

    def of(self, name, rows):
        """Cycles of a stage with that many rows, or beats, of data."""
        fixed, each = self.cycles[name]
        return fixed + each * rows
