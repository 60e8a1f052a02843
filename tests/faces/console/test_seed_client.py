"""The Python client that the document prints, run as it is printed.

It speaks to http://localhost:5000. A test may not take that port, so the program is told by the environment to reach
it through a proxy, which is the server under test itself. Its `/data` is the document's example of a folder.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.faces.console.serving import served

SEED = Path(__file__).resolve().parents[2] / "seeds/console.py.txt"


def test_the_python_client(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "movie.mkv").write_text("")
    program = SEED.read_text("utf-8")
    assert program.count("'/data'") == 1
    with served(tmp_path, roots=(str(folder),), command=("/bin/ls", "-1", "{path}", "{args}")) as server:
        kept = {name: value for name, value in os.environ.items() if name.lower() not in ("no_proxy", "http_proxy")}
        done = subprocess.run(
            [sys.executable, "-c", program.replace("'/data'", repr(str(folder)))],
            env={**kept, "HTTP_PROXY": server.url, "http_proxy": server.url},
            capture_output=True, text=True, timeout=50, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    first, *middle, last = done.stdout.splitlines()
    assert first.startswith("{'type': 'system', 'data': '/bin/ls -1 ")
    assert "'session_id': 's1'" in first
    assert "movie.mkv" in "".join(middle)
    assert last == "{'type': 'exit', 'code': 0, 'reason': 'exited'}"
