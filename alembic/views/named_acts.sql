-- The acts of the audit trail, with what they name where it is an id, and the credits where they are a number. What
-- somebody wrote there that is neither is null: verify shall find it, and not fail on it.
CREATE OR REPLACE VIEW obol.named_acts AS
SELECT a.act_no,
       a.acted_at,
       a.act,
       a.license_id,
       a.target,
       CASE WHEN a.target ~ '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$' THEN a.target::uuid END AS target_id,
       CASE WHEN jsonb_typeof(a.detail -> 'amount') = 'number' THEN (a.detail -> 'amount')::numeric END AS amount,
       a.detail
  FROM obol.admin_acts a;
