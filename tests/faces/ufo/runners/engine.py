"""A real small language model behind llama.cpp's own OpenAI-compatible server, run until its input is closed."""

from __future__ import annotations

import sys

import xllamacpp


def main(model: str) -> None:
    wanted = xllamacpp.CommonParams()
    wanted.model.path = model
    wanted.n_ctx, wanted.n_parallel, wanted.use_jinja, wanted.warmup = 4096, 1, True, False
    wanted.cpuparams.n_threads = 2
    server = xllamacpp.Server(wanted)
    sys.stdout.write(f"{server.listening_address}\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1])
