"""The warden of a device: a small process that waits for it to end. When the device was killed, the warden ends what
the device had running; the device's lock is the warden's too, so that the next one waits for that.

Started as `python -m treadle.device.warden FOLDER`: a byte on stdin says that nothing is left to do, its end that the
device is gone.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

SECONDS = 5.0


class Warden:
    """The device's side of it. `folder` is that of its processes, `lock` the descriptor that holds the device."""

    def __init__(self, folder: Path, lock: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", __name__, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            pass_fds=(lock,),
            start_new_session=True,  # Ctrl-C on the device's terminal is the device's to deal with
        )

    def dismiss(self) -> None:
        """Everything has ended. Safe to call twice."""
        pipe = self._process.stdin
        if pipe is not None and not pipe.closed:
            try:
                pipe.write(b".")
                pipe.close()
            except BrokenPipeError:  # somebody ended it before
                pass
            self._process.wait(SECONDS)


def main() -> None:
    """Wait, and clear up after a device that was killed."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if os.read(0, 1):
        return
    # only now, so that a warden that waits is small
    import asyncio

    from treadle.node.processes import Processes

    async def clear(folder: Path) -> None:
        processes = Processes(folder)
        found = await processes.found()
        await asyncio.gather(*(process.forget() for process in found))
        await processes.close()

    asyncio.run(clear(Path(sys.argv[1])))


if __name__ == "__main__":
    main()
