-- Charges for answers that were never noted as delivered, and not refunded. answer_key_id is the id of the
-- replay key that an answer is sealed with that is kept for a retry, and null where none is kept.
CREATE OR REPLACE VIEW obol.undelivered_charges AS
    SELECT h.license_id, h.hold_id, -e.amount AS charge, h.model, h.ended_at AS settled_at,
           -- As service/gateway/transcript.py puts it in front of the answer.
           substring(i.answer FROM 1 FOR 8) AS answer_key_id
      FROM obol.holds h
      JOIN obol.ledger_entries e
        ON e.license_id = h.license_id AND e.kind = 'charge' AND e.cause_id = h.hold_id
      LEFT JOIN obol.idempotency_keys i
        ON i.license_id = h.license_id AND i.scope = 'license'
       AND i.idempotency_key = h.idempotency_key AND i.cause_id = h.hold_id
       AND i.answer IS NOT NULL AND i.answer_expires_at > clock_timestamp()
     WHERE h.state = 'settled' AND h.process_id IS NOT NULL
       AND h.delivered_at IS NULL
       AND NOT EXISTS (SELECT FROM obol.ledger_entries r
                        WHERE r.license_id = h.license_id AND r.kind = 'refund' AND r.cause_id = h.hold_id);
