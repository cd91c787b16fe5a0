-- Charges for answers that may not have reached their clients: settled, never noted as delivered,
-- not stored for a retry, and not refunded.
CREATE OR REPLACE VIEW obol.undelivered_holds AS
    SELECT u.license_id, u.hold_id, u.charge, u.model, u.settled_at
      FROM obol.undelivered_charges u
     WHERE u.answer_key_id IS NULL;
