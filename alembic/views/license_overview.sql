-- Every license, for the operator and for the license itself; "expired" is a state of the moment.
CREATE OR REPLACE VIEW obol.license_overview AS
    SELECT l.license_id, l.name,
           CASE WHEN l.status = 'active' AND l.expires_at <= clock_timestamp() THEN 'expired'
                ELSE l.status END AS status,
           l.expires_at, l.balance, l.held,
           l.balance - l.held AS available, l.created_at,
           x.external_id, l.limits
      FROM obol.licenses l
      LEFT JOIN obol.external_ids x ON x.license_id = l.license_id;
