"""Where output is kept for fabrics whose tasks print nothing: a folder that is never made."""

from pathlib import Path

from treadle.adapters.output.disk import DiskOutputs
from treadle.core.clock import Clock


def unprinted(clock: Clock) -> DiskOutputs:
    return DiskOutputs(Path("/nonexistent/treadle-output"), clock=clock)
