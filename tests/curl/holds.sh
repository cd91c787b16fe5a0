#!/bin/sh
# Credits set aside, then settled or released.
. "$(dirname "$0")/lib.sh"

holds=$OBOL_URL/api/v1/holds
before=$(balance)
open() {
    expect 201 '"state": *"held"' -H "$auth" -H "$json" "$@" "$holds"
    hold=$(field id)
}

open -d '{"amount": 10}'
expect 200 '"held": *[1-9]' -H "$auth" "$OBOL_URL/api/v1/license"
expect 422 '"settle_exceeds_hold"' -H "$auth" -H "$json" -d '{"amount": 11}' "$holds/$hold/settle"
expect 200 '"state": *"settled"' -H "$auth" -H "$json" -d '{"amount": 4}' "$holds/$hold/settle"
first=$(keep settled)
expect 200 '"state": *"settled"' -H "$auth" -H "$json" -d '{"amount": 4}' "$holds/$hold/settle"
expect_same "$first"
expect 409 '"hold_not_open"' -H "$auth" -H "$json" -d '{"amount": 5}' "$holds/$hold/settle"
expect 409 '"hold_not_open"' -H "$auth" -X POST "$holds/$hold/release"
expect_equal "the balance" "$(balance)" "$((before - 4))"

open -d '{"amount": 10, "expires_in_s": 60}'
expect 200 '"state": *"released"' -H "$auth" -X POST "$holds/$hold/release"
first=$(keep released)
expect 200 '"state": *"released"' -H "$auth" -X POST "$holds/$hold/release"
expect_same "$first"
expect_equal "the balance" "$(balance)" "$((before - 4))"

# The same key and body again is the same hold, with what was available then.
open -H "Idempotency-Key: h-$once" -d '{"amount": 10}'
first=$(keep opened)
open -H "Idempotency-Key: h-$once" -d '{"amount": 10}'
expect_same "$first"
expect 422 '"idempotency_key_reused"' -H "$auth" -H "$json" -H "Idempotency-Key: h-$once" -d '{"amount": 9}' "$holds"
expect 200 '"state": *"released"' -H "$auth" -X POST "$holds/$hold/release"

expect 404 '"hold_not_found"' -H "$auth" -X POST "$holds/00000000-0000-4000-8000-000000000000/release"
expect 404 '"not_found"' -H "$auth" -X POST "$holds/not-an-id/release"
expect 422 '"field": *"expires_in_s"' -H "$auth" -H "$json" -d '{"amount": 1, "expires_in_s": 0}' "$holds"
expect 402 '"insufficient_credits"' -H "$auth" -H "$json" -d '{"amount": 9223372036854775807}' "$holds"
finish
