DROP FUNCTION obol.show_balances;
