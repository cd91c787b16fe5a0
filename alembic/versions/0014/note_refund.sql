-- Keeps what an event says of a payment's refunds: how much there was in all, or that one of them failed or was
-- canceled, which several events say. See sum_refunds. The caller has the license locked.
CREATE OR REPLACE FUNCTION obol.note_refund(p_license_id uuid, p_payment_id uuid, p_event jsonb)
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_object jsonb := p_event #> '{data,object}';
    v_told jsonb;
    v_failed jsonb;
    v_refunded bigint;
BEGIN
    SELECT p.refunds_told, p.refunds_failed INTO v_told, v_failed
      FROM obol.payments p WHERE p.license_id = p_license_id AND p.payment_id = p_payment_id;
    IF v_object ->> 'object' = 'refund' THEN
        v_failed := v_failed || jsonb_build_object(v_object ->> 'id', jsonb_build_object(
            'amount', (v_object ->> 'amount')::bigint,
            'begun_at', (v_object ->> 'created')::bigint,
            -- The first that says so is the nearest to when it was.
            'failed_at', LEAST((p_event ->> 'created')::bigint,
                               (v_failed #>> ARRAY[v_object ->> 'id', 'failed_at'])::bigint)));
    ELSE
        v_told := v_told || jsonb_build_object(p_event ->> 'id', jsonb_build_object(
            'amount', (v_object ->> 'amount_refunded')::bigint, 'at', (p_event ->> 'created')::bigint));
    END IF;
    v_refunded := obol.sum_refunds(v_told, v_failed);
    UPDATE obol.payments p
       SET refunds_told = v_told, refunds_failed = v_failed, refunded = v_refunded
     WHERE p.license_id = p_license_id AND p.payment_id = p_payment_id;
END
$$;

REVOKE ALL ON FUNCTION obol.note_refund(uuid, uuid, jsonb) FROM PUBLIC;
