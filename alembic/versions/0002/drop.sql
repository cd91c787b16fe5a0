DROP FUNCTION
    obol.check_token,
    obol.create_license_v2,
    obol.create_token,
    obol.deduct_v2,
    obol.is_booked_now,
    obol.list_acts,
    obol.list_holds,
    obol.list_licenses,
    obol.list_tokens,
    obol.note_act,
    obol.overview,
    obol.register_first_token,
    obol.revoke_token,
    obol.rotate_license_key_v2,
    obol.set_license_v2,
    obol.set_prices_v2,
    obol.show_license,
    obol.verify_v2;
-- A view loses no column by CREATE OR REPLACE.
DROP VIEW obol.license_overview;
CREATE VIEW obol.license_overview AS
    SELECT l.license_id, l.name,
           CASE WHEN l.status = 'active' AND l.expires_at <= clock_timestamp() THEN 'expired'
                ELSE l.status END AS status,
           l.expires_at, l.balance, l.held,
           l.balance - l.held AS available, l.created_at
      FROM obol.licenses l;
DROP TABLE obol.external_ids, obol.admin_acts, obol.admin_tokens;
