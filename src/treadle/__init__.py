"""Treadle: machines, agents and people pull work from one durable queue."""

__version__ = "0.1.0"
