#!/usr/bin/env bash
# Prepares .venv from the hashed lock and installs the project into it, editable.
# Needs only python3 >= 3.11 with venv. A stamp makes the second run instant; it depends on the
# lock, the project part of pyproject.toml, this script, the Python version and where the folder lies.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
venv=.venv
stamp=$venv/setup.stamp

say() { printf 'setup: %s\n' "$*" >&2; }

wanted() {
  printf '%s\n' "$PWD"
  "$venv/bin/python" -V
  # The settings of tools, at the end of pyproject.toml, change nothing that is installed.
  { cat requirements/*.txt scripts/setup.sh && sed '/^\[tool\.pytest/,$d' pyproject.toml; } | sha256sum
}

is_current() { [ -f "$stamp" ] && [ -x "$venv/bin/treadle" ] && [ "$(wanted 2>/dev/null)" = "$(cat "$stamp")" ]; }

is_current && exit 0

# Two set-ups at once would tread on each other: the second waits, then finds the work done.
if command -v flock >/dev/null; then
  exec 9>.setup.lock
  flock 9
  is_current && exit 0
fi

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || {
  say "Python 3.11 or newer is needed, and $python is $("$python" -V 2>/dev/null || echo not there)"
  say "if there is another one, name it: make setup PYTHON=python3.12"
  exit 1
}
started=$SECONDS
rm -f "$stamp"

# A venv made by another Python, or moved here from another folder, is made anew.
made_for=$(sed -n 's/^command = .* //p' "$venv/pyvenv.cfg" 2>/dev/null || true)
version='import sys; print(sys.version_info[:2])'
if [ "$made_for" != "$PWD/$venv" ] || [ "$("$venv/bin/python" -c "$version" 2>/dev/null)" != "$("$python" -c "$version")" ]; then
  say "making $venv with $("$python" -V)"
  "$python" -m venv --clear "$PWD/$venv" || {
    say "python3 could not make a virtual environment (on Debian and Ubuntu: apt-get install python3-venv)"
    exit 1
  }
fi

pip() { "$venv/bin/python" -m pip --disable-pip-version-check --no-input "$@"; }

say "installing the locked packages"
export VIRTUAL_ENV="$PWD/$venv" UV_NO_PROGRESS=1
if pip install --quiet --require-hashes -r requirements/bootstrap.txt &&
  "$venv/bin/uv" pip sync --quiet --require-hashes --compile-bytecode requirements/dev.txt; then
  "$venv/bin/uv" pip install --quiet --no-build-isolation --no-deps --offline -e .
else
  # uv reads its own settings (UV_*), pip its own: where only pip knows the way to a registry, pip does it all.
  say "uv did not get through; trying with pip alone (slower)"
  "$venv/bin/python" -m ensurepip --upgrade >/dev/null
  pip install --quiet --require-hashes -r requirements/dev.txt
  pip install --quiet --no-build-isolation --no-deps -e .
fi
# The first start should not pay for compiling our own files.
env -u PYTHONDONTWRITEBYTECODE "$venv/bin/python" -m compileall -q src

wanted >"$stamp"
say "done in $((SECONDS - started)) s"
