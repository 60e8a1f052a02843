#!/usr/bin/env bash
# Writes the three lock files from pyproject.toml: exact versions with hashes for every platform, and no
# address of a registry. Arguments go to `uv pip compile` (--upgrade, --upgrade-package NAME).
set -euo pipefail
cd "$(dirname "$0")/.."
compile() {
  .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
    --no-header --no-annotate --no-emit-index-url --no-emit-find-links pyproject.toml "$@" >/dev/null
}
compile --output-file requirements/runtime.txt "$@"
# What runs is pinned first; the tools for development are fitted around it.
compile --group dev --constraint requirements/runtime.txt --output-file requirements/dev.txt "$@"
# uv alone, to be fetched by pip before anything else.
awk '/^uv==/ {print; hashes = 1; next} /^[^ ]/ {hashes = 0} hashes' requirements/dev.txt >requirements/bootstrap.txt
wc -l requirements/*.txt
