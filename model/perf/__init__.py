"""The performance model."""

from .answer import Answer, simulate
from .constants import CONSTANTS, Constants
from .parameters import Card, Host, ParameterError, Pattern, Scenario
from .side import STAGES
from .steady import RESOURCES, Steady, steady_state

__all__ = ["CONSTANTS", "Answer", "Card", "Constants", "Host", "ParameterError", "Pattern", "RESOURCES", "STAGES",
           "Scenario", "Steady", "simulate", "steady_state"]
