DROP FUNCTION
    obol.deduct_several,
    obol.dispute_state,
    obol.due_rollups_v2,
    obol.note_refund,
    obol.set_packages,
    obol.show_balances,
    obol.show_own_limits,
    obol.sum_refunds;
ALTER TABLE obol.payments DROP COLUMN refunds_told, DROP COLUMN refunds_failed;
COMMENT ON TABLE obol.payments IS
    'Payments by card, each with the package as it was when it was begun. disputes is {id: {"amount", "state"}}, state one of inquiry, open, lost, won; refunded and the amounts are money. disagreement is how the last event that was not booked differed.';
