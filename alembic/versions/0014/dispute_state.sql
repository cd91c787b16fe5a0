-- What an event says of a dispute: inquiry, open, lost, won or prevented. p_object: the dispute. An inquiry ('warning_…')
-- takes no money; what was won, or was closed as an inquiry, gives it back. What was prevented never became a dispute, and
-- there are two kinds: what Stripe blocked moves no money, and what it resolved gave it to the cardholder, as a lost one
-- does. The money that it lists as moved says which; where it lists none, the kind does.
CREATE OR REPLACE FUNCTION obol.dispute_state(p_type text, p_object jsonb)
RETURNS text
LANGUAGE plpgsql
IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_status text := p_object ->> 'status';
    v_moved numeric := (SELECT sum((m.value ->> 'amount')::numeric)
                          FROM jsonb_path_query(p_object, '$.balance_transactions[*]') m (value));
BEGIN
    RETURN CASE WHEN v_status = 'prevented' AND v_moved < 0 THEN 'lost'
                WHEN v_status = 'prevented' AND v_moved IS NULL
                     AND p_object #>> '{payment_method_details,card,case_type}' = 'resolution' THEN 'lost'
                WHEN v_status = 'prevented' THEN 'prevented'
                WHEN p_type = 'charge.dispute.closed' AND v_status IN ('won', 'warning_closed') THEN 'won'
                WHEN p_type = 'charge.dispute.closed' THEN 'lost'
                WHEN v_status LIKE 'warning%' THEN 'inquiry'
                ELSE 'open' END;
END
$$;

REVOKE ALL ON FUNCTION obol.dispute_state(text, jsonb) FROM PUBLIC;
