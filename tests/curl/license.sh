#!/bin/sh
# The balance and the statement.
. "$(dirname "$0")/lib.sh"

license=$OBOL_URL/api/v1/license
expect 200 '"available": *[0-9]' -H "$auth" "$license"
expect 200 '"status": *"active"' -H "x-api-key: $OBOL_KEY" "$license"
if grep -q "$OBOL_KEY" "$work/body"; then not_ok "the answer repeats the key"; fi

call -H "$auth" -H "$json" -d '{"amount": 1, "reference": "curl '"$once"'"}' "$OBOL_URL/api/v1/deductions"
expect 200 "curl $once" -H "$auth" "$license/entries?limit=1"
expect_equal "the newest entry's amount" "$(field amount)" -1
cursor=$(field next_cursor)
expect 200 '"entries": *\[' -H "$auth" "$license/entries?limit=1&cursor=$cursor"
expect_equal "the entry number" "$(field entry_no)" "$((cursor - 1))"

expect 422 '"validation_failed"' -H "$auth" "$license/entries?limit=0"
expect 422 '"field": *"cursor"' -H "$auth" "$license/entries?cursor=last"
expect 401 '"credentials_missing"' "$license"
expect_header '^www-authenticate: bearer'
expect 403 '"license_invalid"' -H "Authorization: Bearer $OBOL_KEY"x "$license"
if [ -n "${OBOL_SUSPENDED_KEY:-}" ]; then
    expect 200 '"status": *"suspended"' -H "Authorization: Bearer $OBOL_SUSPENDED_KEY" "$license"
fi
if [ -n "${OBOL_EXPIRED_KEY:-}" ]; then
    expect 200 '"status": *"expired"' -H "Authorization: Bearer $OBOL_EXPIRED_KEY" "$license"
fi
finish
