DROP FUNCTION obol.show_own_limits;
