"""One call and its charge.

    client        gateway                                    database            upstream

    request ────► survey: what can it use?
                  price_book: what does each model cost?
                  hold_size: what can it cost at most? ····► (count_tokens, where bytes do not tell)
                  completions ─────────────────────────────► open_hold
                  live_hold: the hold is in hand; from here on it ends in exactly one of two ways
                  upstream ──────────────────────────────────────────────────► POST /v1/messages
                  sse, streams, message: read the answer ◄──────────────────── body or events
                  usage: what did it use? transcript: keep it for a retry
                  live_hold ───────────────────────────────► settle_hold    (no answer: release_hold)
    answer ◄───── only now its end

1. `survey` looks at the request alone (`text_bound` at its text): the models that may answer, and what
   bounds its tokens. What has no bound is refused by name.
2. `price_book` finds the price of each of these models, and `hold_size` multiplies: a hold is an upper
   bound of the charge.
3. `completions` opens the hold: one round trip, in which the database checks the license, finds an
   answer to replay, or sets the credits aside. Refused: the upstream is not called.
4. `upstream` asks, with no database connection in hand. `message` reads out of the answer what has to
   do with money; `streams` lets events through as they come, but keeps their end back. While nothing but
   content comes, the stream's thread sleeps, and `relay` waits for all streams in one.
5. `live_hold` settles: one round trip that charges, books and stores the answer in one transaction. The
   end of the answer leaves after that commit. No answer: the hold is released, and nothing is charged.
6. If it is not certain how a hold ended, the answer is withheld, and the heartbeat (`service.lease`)
   undoes the hold. If this process dies on the way, the hold ends with its lease.

What happens when: docs/billing-matrix.md. Why it is so: docs/decisions/.
"""
