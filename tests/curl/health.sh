#!/bin/sh
# What needs no key: is the process up, is its database, and what can it do.
. "$(dirname "$0")/lib.sh"

expect 200 '"status": *"ok"' "$OBOL_URL/healthz"
expect 200 '"status": *"ready"' "$OBOL_URL/readyz"
expect_header '^request-id: .'
expect 200 '"/api/v1/generate"' "$OBOL_URL/openapi.json"
expect 200 '"/openapi.json"' "$OBOL_URL/"
expect 200 'POST /api/v1/generate' "$OBOL_URL/docs"
expect 200 'What to do' -H 'Accept: text/html' "$OBOL_URL/problems/insufficient_credits"
expect_header '^content-security-policy: default-src'
expect 200 '"ok"' -H 'x-request-id: from-a-client' "$OBOL_URL/healthz"
expect_header '^request-id: from-a-client$'
finish
