#!/bin/sh
# Every refusal is a problem document with a stable code; none of them charges anything.
. "$(dirname "$0")/lib.sh"

before=$(balance)
expect 404 '"not_found"' "$OBOL_URL/nowhere"
expect_header '^content-type: application/problem+json'
expect 405 '"method_not_allowed"' "$OBOL_URL/api/v1/deductions"
expect_header '^allow:.*POST'

# The body is read as strict JSON in UTF-8.
printf '{"amount": 1, "reference": "\377"}' >"$work/latin"
printf '{"amount": 1, "reference": "\303"}' >"$work/cut"
for path in deductions holds generate; do
    url=$OBOL_URL/api/v1/$path
    for file in latin cut; do
        expect 400 'not valid UTF-8' -H "$auth" -H "$json" --data-binary "@$work/$file" "$url"
    done
    for body in '' '{' '[]' '1' 'null' '{"amount": NaN}' '{"amount": 1, "amount": 2}'; do
        expect 400 '"malformed_request"' -H "$auth" -H "$json" -d "$body" "$url"
    done
    expect 415 '"unsupported_media_type"' -H "$auth" -d 'amount=1' "$url"
    expect 401 '"credentials_missing"' -H "$json" -d '{"amount": 1, "prompt": "x"}' "$url"
    # The shape of a request is judged before the license is.
    expect 400 '"malformed_request"' -H 'x-api-key: nonsense' -H "$json" -d '{' "$url"
done

refused() {
    [ -n "$2" ] || return 0
    expect 403 "\"$1\"" -H "Authorization: Bearer $2" -H "$json" -d '{"amount": 1}' "$OBOL_URL/api/v1/deductions"
    expect 403 "\"$1\"" -H "Authorization: Bearer $2" -H "$json" -d '{"amount": 1}' "$OBOL_URL/api/v1/holds"
    expect 403 "\"$1\"" -H "Authorization: Bearer $2" -H "$json" -d '{"prompt": "x"}' "$OBOL_URL/api/v1/generate"
}
refused license_invalid nonsense
refused license_invalid "${OBOL_KEY}x"
refused license_inactive "${OBOL_SUSPENDED_KEY:-}"
refused license_expired "${OBOL_EXPIRED_KEY:-}"
if [ -n "${OBOL_POOR_KEY:-}" ]; then
    expect 402 '"required": *2' -H "x-api-key: $OBOL_POOR_KEY" -H "$json" -d '{"amount": 2}' "$OBOL_URL/api/v1/deductions"
fi

expect_equal "the balance" "$(balance)" "$before"
finish
