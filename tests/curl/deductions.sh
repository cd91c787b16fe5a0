#!/bin/sh
# Taking credits.
. "$(dirname "$0")/lib.sh"

deductions=$OBOL_URL/api/v1/deductions
before=$(balance)
expect 200 '"amount": *3' -H "$auth" -H "$json" -d '{"amount": 3}' "$deductions"
expect_equal "the balance" "$(field balance)" "$((before - 3))"

# The same key and body again: the same answer, and nothing more is charged.
expect 200 '"amount": *2' -H "$auth" -H "$json" -H "Idempotency-Key: d-$once" -d '{"amount": 2}' "$deductions"
first=$(keep first)
expect 200 '"amount": *2' -H "$auth" -H "$json" -H "Idempotency-Key: d-$once" -d '{"amount": 2}' "$deductions"
expect_same "$first"
expect_equal "the balance" "$(balance)" "$((before - 5))"
expect 422 '"idempotency_key_reused"' -H "$auth" -H "$json" -H "Idempotency-Key: d-$once" -d '{"amount": 4}' "$deductions"

for body in '{"amount": 0}' '{"amount": -1}' '{"amount": 9223372036854775808}'; do
    expect 422 '"amount_invalid"' -H "$auth" -H "$json" -d "$body" "$deductions"
done
for body in '{}' '{"amount": null}' '{"amount": "1"}' '{"amount": 1.0}' '{"amount": true}' '{"amount": 1, "currency": "x"}'; do
    expect 422 '"validation_failed"' -H "$auth" -H "$json" -d "$body" "$deductions"
done
expect 402 '"insufficient_credits"' -H "$auth" -H "$json" -d '{"amount": 9223372036854775807}' "$deductions"
expect_equal "what is available" "$(field available)" "$((before - 5))"

# A body that is too large is read to its end, so that the answer arrives.
dd if=/dev/zero of="$work/large" bs=1000000 count=10 2>/dev/null
expect 413 '"payload_too_large"' -H "$auth" -H "$json" --data-binary "@$work/large" "$deductions"
expect 413 '"payload_too_large"' -H "$auth" -H "$json" -H 'Expect:' --data-binary "@$work/large" "$deductions"
expect 413 '"payload_too_large"' -H "$auth" -H "$json" -H 'Expect:' -H 'Transfer-Encoding: chunked' \
    --data-binary "@$work/large" "$deductions"

expect_equal "the balance" "$(balance)" "$((before - 5))"
finish
