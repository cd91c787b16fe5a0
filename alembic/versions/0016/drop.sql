DROP FUNCTION obol.due_owed, obol.take_back_owed;
