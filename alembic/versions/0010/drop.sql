DROP FUNCTION obol.deduct_batch;
