"""Measurements of a model or artefact: latency, memory and time per kind of operator."""

from gfkeras.inference.measuring.measurement import Latency, Measurement, measure
from gfkeras.inference.measuring.profiles import LeftOperator, Operator, left_operators

__all__ = ["Latency", "LeftOperator", "Measurement", "Operator", "left_operators", "measure"]
