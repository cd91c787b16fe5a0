#!/bin/sh
# Run every script of this folder against a served instance: the one at OBOL_URL or, without that,
# one of its own over the database of the environment (DATABASE_URL, or OBOL_DEV=1).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)

if [ -z "${OBOL_URL:-}" ]; then
    cd "$root"
    # The service would take these for misspelt settings.
    unset OBOL_KEY OBOL_POOR_KEY OBOL_EXPIRED_KEY OBOL_SUSPENDED_KEY OBOL_URL
    server=
    log=$(mktemp)
    stop() {
        if [ -n "$server" ]; then
            kill "$server" 2>/dev/null || true
            wait "$server" 2>/dev/null || true
        fi
        rm -f "$log"
    }
    trap stop EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM

    PORT=$(.venv/bin/python -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    export PORT
    .venv/bin/obol migrate
    WEB_CONCURRENCY=1 .venv/bin/gunicorn wsgi:app >"$log" 2>&1 &
    server=$!
    url=http://127.0.0.1:$PORT
    tries=0
    until curl -sf -o /dev/null "$url/readyz"; do
        tries=$((tries + 1))
        if [ "$tries" -gt 300 ] || ! kill -0 "$server" 2>/dev/null; then
            echo "The server does not come up:" >&2
            cat "$log" >&2
            exit 1
        fi
        sleep 0.1
    done

    member() {
        sed -n 's/.*"'"$1"'": "\([^"]*\)".*/\1/p'
    }
    create() {
        .venv/bin/obol license create --json --name "tests/curl" "$@"
    }
    OBOL_KEY=$(create --credits 100000 | member license_key)
    OBOL_POOR_KEY=$(create --credits 1 | member license_key)
    OBOL_EXPIRED_KEY=$(create --credits 100 --expires 2020-01-01T00:00:00Z | member license_key)
    suspended=$(create --credits 100)
    OBOL_SUSPENDED_KEY=$(echo "$suspended" | member license_key)
    .venv/bin/obol license suspend "$(echo "$suspended" | member license_id)" >/dev/null
else
    url=$OBOL_URL
    log=
fi

failed=
for script in health license deductions holds generate errors; do
    echo "# $script.sh"
    # The names of this test are no settings of the service: only the scripts see them.
    OBOL_URL=$url OBOL_KEY=${OBOL_KEY:-} OBOL_POOR_KEY=${OBOL_POOR_KEY:-} \
        OBOL_EXPIRED_KEY=${OBOL_EXPIRED_KEY:-} OBOL_SUSPENDED_KEY=${OBOL_SUSPENDED_KEY:-} \
        sh "$here/$script.sh" || failed="$failed $script.sh"
done
if [ -n "$log" ]; then
    .venv/bin/obol verify || failed="$failed verify"
fi
if [ -n "$failed" ]; then
    echo "Failed:$failed"
    exit 1
fi
echo "All passed."
