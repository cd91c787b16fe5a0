-- What has other arguments now goes first.
DROP FUNCTION obol.verify_v2;

-- What this migration replaced, as the migrations before it had it.

-- The invariants of the ledger, a function a room: a row for each thing that disagrees, none when
-- all is well. All of them are STABLE, so that they read in the one snapshot of this statement.
CREATE OR REPLACE FUNCTION obol.verify()
RETURNS TABLE (license_id uuid, rule text, detail text)
LANGUAGE sql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT l.license_id, l.rule, l.detail FROM obol.verify_licenses() l
    UNION ALL
    SELECT e.license_id, e.rule, e.detail FROM obol.verify_ledger() e
    UNION ALL
    SELECT h.license_id, h.rule, h.detail FROM obol.verify_holds() h
    UNION ALL
    SELECT i.license_id, i.rule, i.detail FROM obol.verify_idempotency() i
    UNION ALL
    SELECT g.license_id, g.rule, g.detail FROM obol.verify_grants() g
    UNION ALL
    SELECT c.license_id, c.rule, c.detail FROM obol.verify_limits() c
    UNION ALL
    SELECT u.license_id, u.rule, u.detail FROM obol.verify_usage() u
$$;

REVOKE ALL ON FUNCTION obol.verify() FROM PUBLIC;

-- As verify, for who has a token: how many rows there are of what was checked, how many things disagree, and
-- p_limit of them as a list of {"license_id", "rule", "detail"}. All of it in the one snapshot of the statement.
-- Errors: ADMIN_FORBIDDEN.
CREATE OR REPLACE FUNCTION obol.verify_v2(p_limit integer, p_token_digest bytea, p_request_id text)
RETURNS TABLE (checked jsonb, finding_count bigint, findings jsonb)
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM obol.check_token(p_token_digest, 'read');
    RETURN QUERY
        SELECT jsonb_build_object(
                   'licenses', (SELECT count(*) FROM obol.licenses),
                   'entries', (SELECT count(*) FROM obol.ledger_entries),
                   'holds', (SELECT count(*) FROM obol.holds),
                   'idempotency_keys', (SELECT count(*) FROM obol.idempotency_keys)),
               COALESCE(max(v.number), 0),
               COALESCE(jsonb_agg(jsonb_build_object(
                   'license_id', v.license_id, 'rule', v.rule, 'detail', v.detail)) FILTER (WHERE v.number <= p_limit), '[]')
          FROM (SELECT f.*, row_number() OVER () AS number FROM obol.verify() f) v;
END
$$;

REVOKE ALL ON FUNCTION obol.verify_v2(integer, bytea, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.verify_v2(integer, bytea, text) TO obol_service;

-- Gives back what a charge or a deduction took, whole and once, as the release 0.1.0 did: the same
-- again gives the first result. p_withheld is the case of refund_withheld, an answer that was charged
-- for and not delivered: nothing is refunded while the answer is stored for a retry with its
-- idempotency key, and otherwise the key is freed for a clean new try.
-- Returns no row when there was nothing to refund. Errors: HOLD_NOT_FOUND.
CREATE OR REPLACE FUNCTION obol.refund(
    p_license_id uuid,
    p_cause_id uuid,
    p_reference text,
    p_withheld boolean DEFAULT false
) RETURNS TABLE (amount bigint, balance bigint)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
#variable_conflict use_column
DECLARE
    v_hold obol.holds;
    v_left bigint;
    v_entry_no bigint;
BEGIN
    UPDATE obol.licenses l SET entry_count = l.entry_count WHERE l.license_id = p_license_id;
    RETURN QUERY SELECT r.amount, r.balance_after FROM obol.ledger_entries r
                  WHERE r.license_id = p_license_id AND r.kind = 'refund' AND r.cause_id = p_cause_id
                  ORDER BY r.entry_no LIMIT 1;
    IF FOUND THEN
        RETURN;
    END IF;
    v_left := obol.refundable(p_license_id, p_cause_id);
    IF v_left IS NULL AND NOT p_withheld THEN
        RAISE EXCEPTION 'HOLD_NOT_FOUND: license % has no charge for %', p_license_id, p_cause_id
            USING ERRCODE = 'OB404';
    END IF;
    PERFORM FROM obol.idempotency_keys i
      WHERE i.license_id = p_license_id AND i.cause_id = p_cause_id
        AND i.answer IS NOT NULL AND i.answer_expires_at > clock_timestamp();
    IF v_left IS NULL OR (p_withheld AND FOUND) THEN
        RETURN;
    END IF;
    PERFORM obol.bring_up_to_date(p_license_id, true);
    v_entry_no := obol.give_back(p_license_id, p_cause_id, gen_random_uuid(), v_left, p_reference);
    RETURN QUERY SELECT e.amount, e.balance_after FROM obol.ledger_entries e
                  WHERE e.license_id = p_license_id AND e.entry_no = v_entry_no;
    IF p_withheld THEN
        SELECT h.* INTO v_hold FROM obol.holds h
         WHERE h.license_id = p_license_id AND h.hold_id = p_cause_id;
        PERFORM obol.free_idempotency_key(v_hold);
    END IF;
END
$$;

REVOKE ALL ON FUNCTION obol.refund(uuid, uuid, text, boolean) FROM PUBLIC;
