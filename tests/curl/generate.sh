#!/bin/sh
# A prompt in, a paid answer out.
. "$(dirname "$0")/lib.sh"

generate=$OBOL_URL/api/v1/generate
prompt='{"prompt": "Say hello.", "max_tokens": 20}'
before=$(balance)
expect 200 '"text": *"[^"]' -H "$auth" -H "$json" -d "$prompt" "$generate"
expect_header '^obol-credits-charged: [1-9]'
charged=$(field charged)
expect_equal "the balance" "$(field balance)" "$((before - charged))"
expect_equal "the balance" "$(balance)" "$((before - charged))"

# With an idempotency key a retry gets the stored answer, byte for byte, and pays nothing.
expect 200 '"stop_reason"' -H "$auth" -H "$json" -H "Idempotency-Key: g-$once" -d "$prompt" "$generate"
first=$(keep first)
after=$(field balance)
expect 200 '"stop_reason"' -H "$auth" -H "$json" -H "Idempotency-Key: g-$once" -d "$prompt" "$generate"
expect_same "$first"
expect_equal "the balance" "$(balance)" "$after"
expect 422 '"idempotency_key_reused"' -H "$auth" -H "$json" -H "Idempotency-Key: g-$once" -d '{"prompt": "x"}' "$generate"
expect 422 '"Idempotency-Key"' -H "$auth" -H "$json" -H "Idempotency-Key: two words" -d "$prompt" "$generate"

expect 422 '"field": *"prompt"' -H "$auth" -H "$json" -d '{}' "$generate"
expect 422 '"field": *"max_tokens"' -H "$auth" -H "$json" -d '{"prompt": "x", "max_tokens": 0}' "$generate"
# Only text: the lone half of a surrogate pair and NUL are refused, an emoji is not.
expect 422 '"field": *"prompt"' -H "$auth" -H "$json" -d '{"prompt": "\ud800"}' "$generate"
expect 422 '"field": *"prompt"' -H "$auth" -H "$json" -d '{"prompt": "\u0000"}' "$generate"
expect_equal "the balance" "$(balance)" "$after"
expect 200 '"text"' -H "$auth" -H "$json" -d '{"prompt": "\ud83d\ude00", "max_tokens": 5}' "$generate"

if [ -n "${OBOL_POOR_KEY:-}" ]; then
    expect 402 '"insufficient_credits"' -H "Authorization: Bearer $OBOL_POOR_KEY" -H "$json" -d "$prompt" "$generate"
    expect 200 '"balance": *1[^0-9]' -H "Authorization: Bearer $OBOL_POOR_KEY" "$OBOL_URL/api/v1/license"
fi
finish
