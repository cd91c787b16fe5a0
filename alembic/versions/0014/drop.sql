DROP FUNCTION obol.deduct_several;
