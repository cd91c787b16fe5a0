-- What an entry says of the business: its ten minutes, the change of what is owed to clients, and what that was, as
-- amounts above zero (adjusted: of either sign). roll_up_business, overview and verify_business share it.
CREATE OR REPLACE VIEW obol.entry_business AS
    SELECT e.created_at,
           date_bin('10 minutes', e.created_at, '2000-01-01T00:00:00Z') AS begins_at,
           e.amount AS total,
           CASE WHEN e.kind = 'grant' THEN e.amount ELSE 0 END AS granted,
           CASE WHEN e.kind IN ('charge', 'deduction') THEN -e.amount ELSE 0 END AS charged,
           CASE WHEN e.kind = 'refund' THEN e.amount ELSE 0 END AS refunded,
           CASE WHEN e.kind = 'expiry' THEN -e.amount ELSE 0 END AS expired,
           CASE WHEN e.kind = 'void' THEN -e.amount ELSE 0 END AS voided,
           CASE WHEN e.kind = 'adjustment' THEN e.amount ELSE 0 END AS adjusted,
           COALESCE(e.shortfall, 0) AS shortfall
      FROM obol.ledger_entries e;
