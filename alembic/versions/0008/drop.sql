DROP FUNCTION obol.expire_holds_v2;
