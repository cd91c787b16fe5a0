"""Prices have tiers and can end, and a list of prices is set at once.

Revision ID: 0002
Revises: 0001
"""

from alembic import op
from service.migrations import drop_functions, revoke_all_from, run_snapshots

revision = "0002"
down_revision = "0001"

NEW = ["check_admission", "check_license", "set_prices", "settle_within"]
FUNCTIONS = ["charge_for", *NEW, "settle_hold"]

TABLES = """
CREATE TABLE obol.price_tiers (
    model_pattern text NOT NULL,
    effective_from timestamptz NOT NULL,
    above_input_tokens bigint NOT NULL CHECK (above_input_tokens > 0),
    input bigint NOT NULL CHECK (input BETWEEN 0 AND 1000000000000),
    output bigint NOT NULL CHECK (output BETWEEN 0 AND 1000000000000),
    cache_write_5m bigint NOT NULL CHECK (cache_write_5m BETWEEN 0 AND 1000000000000),
    cache_write_1h bigint NOT NULL CHECK (cache_write_1h BETWEEN 0 AND 1000000000000),
    cache_read bigint NOT NULL CHECK (cache_read BETWEEN 0 AND 1000000000000),
    PRIMARY KEY (model_pattern, effective_from, above_input_tokens),
    FOREIGN KEY (model_pattern, effective_from) REFERENCES obol.prices ON DELETE CASCADE
);
COMMENT ON TABLE obol.price_tiers IS
    'What a price is when the prompt, cache reads and writes included, has more tokens: the figures for every token of such a call.';

-- A price without figures ends its pattern: NULL can be taken for no price, and 0 would be one.
-- The only reader is the view below.
-- squawk-ignore ban-drop-not-null
ALTER TABLE obol.prices ALTER COLUMN input DROP NOT NULL;
-- squawk-ignore ban-drop-not-null
ALTER TABLE obol.prices ALTER COLUMN output DROP NOT NULL;
-- squawk-ignore ban-drop-not-null
ALTER TABLE obol.prices ALTER COLUMN cache_write_5m DROP NOT NULL;
-- squawk-ignore ban-drop-not-null
ALTER TABLE obol.prices ALTER COLUMN cache_write_1h DROP NOT NULL;
-- squawk-ignore ban-drop-not-null
ALTER TABLE obol.prices ALTER COLUMN cache_read DROP NOT NULL;
-- Not valid for good: what was written by hand before stays as it is.
ALTER TABLE obol.prices
    ADD CONSTRAINT prices_all_figures_or_none
        CHECK (num_nulls(input, output, cache_write_5m, cache_write_1h, cache_read) IN (0, 5)) NOT VALID,
    ADD CONSTRAINT prices_model_pattern
        CHECK (length(model_pattern) BETWEEN 1 AND 200
               AND position('*' IN model_pattern) IN (0, length(model_pattern))) NOT VALID;
COMMENT ON TABLE obol.prices IS
    'The price book: credits per million tokens of each class. A pattern is a model name, or the beginning of one and a *. A row without figures ends its pattern: from then on what it names is not sold.'
"""

VIEW = """
CREATE OR REPLACE VIEW obol.price_book AS
    SELECT p.model_pattern, p.effective_from,
           CASE WHEN p.input IS NOT NULL THEN
               jsonb_build_object('input', p.input, 'output', p.output, 'cache_write_5m', p.cache_write_5m,
                                  'cache_write_1h', p.cache_write_1h, 'cache_read', p.cache_read)
               || COALESCE((
                   SELECT jsonb_build_object('tiers', jsonb_agg(
                              jsonb_build_object('above_input_tokens', t.above_input_tokens,
                                                 'input', t.input, 'output', t.output,
                                                 'cache_write_5m', t.cache_write_5m,
                                                 'cache_write_1h', t.cache_write_1h, 'cache_read', t.cache_read)
                              ORDER BY t.above_input_tokens))
                     FROM obol.price_tiers t
                    WHERE t.model_pattern = p.model_pattern AND t.effective_from = p.effective_from
                   HAVING count(*) > 0), '{}')
           END AS price
      FROM obol.prices p
"""

# To drop tiers and ends would change what is charged without a word: whoever goes back decides.
REFUSE = """
DO $$
BEGIN
    IF EXISTS (SELECT FROM obol.price_tiers) OR EXISTS (SELECT FROM obol.prices p WHERE p.input IS NULL) THEN
        RAISE EXCEPTION 'the price book has tiers or ended patterns, which revision 0001 cannot keep'
            USING HINT = 'Look at `obol prices show --all`, then DELETE FROM obol.price_tiers (every prompt is sold at the first figures) and DELETE FROM obol.prices WHERE input IS NULL (the price before the end is in force again).';
    END IF;
END
$$
"""

# The host's default privileges give what is new to service_role too. Only what is new is taken
# back: the rest of its rights are the operator's grants by now.
REVOKE_NEW = f"""
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'service_role') THEN
        REVOKE ALL ON TABLE obol.price_tiers FROM service_role;
        REVOKE ALL ON FUNCTION {", ".join(f"obol.{name}" for name in NEW)} FROM service_role;
    END IF;
END
$$
"""

OLD_TABLES = """
DROP TABLE obol.price_tiers;
ALTER TABLE obol.prices
    DROP CONSTRAINT prices_all_figures_or_none,
    DROP CONSTRAINT prices_model_pattern,
    ALTER COLUMN input SET NOT NULL,
    ALTER COLUMN output SET NOT NULL,
    ALTER COLUMN cache_write_5m SET NOT NULL,
    ALTER COLUMN cache_write_1h SET NOT NULL,
    ALTER COLUMN cache_read SET NOT NULL;
COMMENT ON TABLE obol.prices IS
    'The price book: credits per million tokens of each class. A pattern is a model name, or the beginning of one and a *.'
"""

OLD_VIEW = """
CREATE OR REPLACE VIEW obol.price_book AS
    SELECT p.model_pattern, p.effective_from,
           jsonb_build_object('input', p.input, 'output', p.output, 'cache_write_5m', p.cache_write_5m,
                              'cache_write_1h', p.cache_write_1h, 'cache_read', p.cache_read) AS price
      FROM obol.prices p
"""


def _execute(script: str) -> None:
    for statement in script.split(";\n"):
        # Alembic takes :name for a parameter.
        op.execute(statement.replace(":", r"\:"))


def upgrade() -> None:
    _execute(TABLES)
    op.execute(VIEW)
    run_snapshots(revision, FUNCTIONS)
    op.execute(REVOKE_NEW)
    revoke_all_from("anon", "authenticated")


def downgrade() -> None:
    """Charges keep their prices; those that used tiers are named by `verify` until the next upgrade."""
    op.execute(REFUSE)
    drop_functions(NEW)
    run_snapshots("0001", ["charge_for", "settle_hold"])
    op.execute(OLD_VIEW)
    _execute(OLD_TABLES)
