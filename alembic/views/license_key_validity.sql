-- When a license key is good: from valid_from on and before valid_until. The times and not a yes or
-- no, because a guarded write compares them with a time of its own: what it calls must not be volatile.
CREATE OR REPLACE VIEW obol.license_key_validity AS
    SELECT k.license_id, k.key_digest, k.created_at AS valid_from,
           COALESCE(LEAST(k.expires_at, k.revoked_at), 'infinity') AS valid_until,
           k.key_id, k.limits IS NOT NULL AS is_limited, k.last_used_at
      FROM obol.license_keys k;
