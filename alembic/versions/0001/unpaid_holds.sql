-- What clients got of answers that broke off, and that nobody was charged for. The purge of old holds ends
-- an entry.
CREATE OR REPLACE VIEW obol.unpaid_holds AS
    SELECT h.license_id, h.hold_id, h.model, h.ended_at,
           h.unpaid ->> 'reason' AS reason, (h.unpaid ->> 'events')::bigint AS events,
           (h.unpaid ->> 'bytes')::bigint AS bytes, (h.unpaid ->> 'tokens')::bigint AS tokens
      FROM obol.holds h
     WHERE h.unpaid IS NOT NULL;
