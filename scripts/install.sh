#!/bin/sh
# Make .venv and install the locked packages into it, unless that was done for these locks.
# usage: scripts/install.sh LOCKFILE
set -eu
cd "$(dirname "$0")/.."
lock=$1
# The tests drive the TypeScript SDK too. Node comes from the development lock, the SDK from this folder's.
npm=
[ "$lock" != requirements-dev.lock ] || npm=tests/clients

wanted=$(cat "$lock" setup.cfg setup.py pyproject.toml ${npm:+"$npm/package-lock.json"} | cksum)
stamp=.venv/installed-${lock%.lock}
if [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && [ -x .venv/bin/obol ] &&
    { [ -z "$npm" ] || [ -d "$npm/node_modules" ]; }; then
    exit 0
fi

new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

if ! { [ -x .venv/bin/python ] && new_enough .venv/bin/python && .venv/bin/python -m pip --version >/dev/null 2>&1; }; then
    python=
    for candidate in ${PYTHON:-} python3 python3.14 python3.13 python3.12 python3.11; do
        if command -v "$candidate" >/dev/null 2>&1 && new_enough "$candidate"; then
            python=$candidate
            break
        fi
    done
    if [ -z "$python" ]; then
        echo "Obol needs Python 3.11 or later, and found none. Install one:" >&2
        echo "    apt-get install -y python3 python3-venv      # Debian 12 or later, Ubuntu 24.04 or later" >&2
        echo "    brew install python@3.13                     # macOS" >&2
        echo "or name one: make PYTHON=/path/to/python3" >&2
        exit 1
    fi
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        echo "$("$python" --version) is here without its venv module. Type:" >&2
        echo "    apt-get install -y python3-venv" >&2
        exit 1
    fi
    rm -rf .venv
    "$python" -m venv .venv
fi

# On a terminal dots say that it goes on. They end with this script, however that ends: a shell starts what is
# in the background deaf to Ctrl-C.
dots() {
    while sleep 1 && kill -0 $$ 2>/dev/null; do printf .; done
}

echo "Installing $lock into .venv (the first time this takes a minute)"
if [ -t 1 ]; then
    dots &
    dots=$!
    trap 'kill "$dots" 2>/dev/null; echo' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
fi
# --no-deps: the lock is complete. Left to resolve, pip takes an extra (coverage[toml]) for a package of
# its own without a pin, and fails on the day that a newer release comes out.
.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r "$lock"
# --no-build-isolation: setuptools comes from the lock too, and nothing unlocked is fetched.
.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --no-index --editable .
if [ -n "$npm" ]; then
    # As pip does, trust what the system trusts. The home folder may be missing, or another user's.
    NODE_USE_SYSTEM_CA=1 npm_config_cache="$PWD/.venv/npm" \
        .venv/bin/npm ci --prefix "$npm" --ignore-scripts --no-audit --no-fund --loglevel=error >/dev/null
fi
echo "$wanted" >"$stamp"
