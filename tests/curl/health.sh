#!/bin/sh
# What needs no key: is the process up, is its database, and what can it do.
. "$(dirname "$0")/lib.sh"

expect 200 '"status": *"ok"' "$OBOL_URL/healthz"
expect 200 '"status": *"ready"' "$OBOL_URL/readyz"
expect_header '^request-id: .'
expect 200 '"/api/v1/generate"' "$OBOL_URL/openapi.json"
expect 200 '"ok"' -H 'x-request-id: from-a-client' "$OBOL_URL/healthz"
expect_header '^request-id: from-a-client$'
finish
