-- Charges for answers that may not have reached their clients: settled, never noted as delivered,
-- not stored for a retry, and not refunded.
CREATE OR REPLACE VIEW obol.undelivered_holds AS
    SELECT h.license_id, h.hold_id, -e.amount AS charge, h.model, h.ended_at AS settled_at
      FROM obol.holds h
      JOIN obol.ledger_entries e
        ON e.license_id = h.license_id AND e.kind = 'charge' AND e.cause_id = h.hold_id
     WHERE h.state = 'settled' AND h.process_id IS NOT NULL
       AND h.delivered_at IS NULL
       AND NOT EXISTS (SELECT FROM obol.idempotency_keys i
                        WHERE i.license_id = h.license_id AND i.scope = 'license'
                          AND i.idempotency_key = h.idempotency_key AND i.cause_id = h.hold_id
                          AND i.answer IS NOT NULL AND i.answer_expires_at > clock_timestamp())
       AND NOT EXISTS (SELECT FROM obol.ledger_entries r
                        WHERE r.license_id = h.license_id AND r.kind = 'refund' AND r.cause_id = h.hold_id);
