-- deduct_v2 no longer asks it: in a subtransaction it did not know what was booked there.
-- squawk-ignore ban-drop-function
DROP FUNCTION obol.is_booked_now;
