DROP FUNCTION obol.set_packages, obol.show_balances;
