# make run: everything from nothing to a served API. make test: everything from nothing to the
# whole test suite. Both need Python 3.11 or later and make, and nothing else.
.POSIX:
.PHONY: run test lint bench bench-peers format lock schema snapshot clean

BIN = .venv/bin
PYTEST_ARGS =
BENCH_ARGS =

run:
	@scripts/install.sh requirements.lock
	@OBOL_DEV=1 exec $(BIN)/obol serve --demo

test:
	@scripts/install.sh requirements-dev.lock
	$(BIN)/pytest $(PYTEST_ARGS)

lint:
	@scripts/install.sh requirements-dev.lock
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/python scripts/lint_sql.py
	$(BIN)/mypy
	@# Each migration by itself: next to the CREATE TABLE, squawk takes any change of a table for harmless.
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && from=base && \
	for file in alembic/versions/*.py; do \
		to=$$(basename "$$file"); to=$${to%%_*}; \
		$(BIN)/alembic upgrade "$$from:$$to" --sql >"$$folder/$$to.sql" 2>"$$folder/log" || \
			{ cat "$$folder/log" >&2; exit 1; }; \
		from=$$to; \
	done && $(BIN)/squawk -c .squawk.toml "$$folder"/*.sql

# What Obol costs and carries, beside what it is compared with; docs/performance.md has the last results.
bench:
	@scripts/install.sh requirements-dev.lock
	$(BIN)/python -m bench $(BENCH_ARGS)

bench-peers:
	@scripts/install.sh requirements-dev.lock
	$(BIN)/python -m bench.peers $(BENCH_ARGS)

format:
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Renew the locks after a change in setup.cfg; needs uv (https://docs.astral.sh/uv/).
lock:
	uv pip compile setup.cfg --extra build --extra embedded --universal --python-version 3.11 --generate-hashes --upgrade \
		--no-header --no-emit-index-url --no-emit-find-links -o requirements.lock
	uv pip compile setup.cfg --extra build --extra embedded --extra otel --extra dev --universal --python-version 3.11 --generate-hashes \
		--no-header --no-emit-index-url --no-emit-find-links -c requirements.lock -o requirements-dev.lock

# Regenerate alembic/schema.sql after a change of migrations or functions.
schema:
	$(BIN)/python scripts/dump_schema.py alembic/schema.sql

# Copy every function and view that changed to the folder of a new migration: make snapshot REVISION=0002
snapshot:
	@mkdir -p alembic/versions/$(REVISION) && for file in alembic/functions/*/*.sql alembic/views/*.sql; do \
		name=$$(basename "$$file"); \
		newest=$$(ls -d alembic/versions/*/"$$name" 2>/dev/null | sort | tail -n 1); \
		if [ -z "$$newest" ] || ! cmp -s "$$file" "$$newest"; then \
			cp "$$file" "alembic/versions/$(REVISION)/$$name" && echo "alembic/versions/$(REVISION)/$$name"; fi; done

clean:
	rm -rf .venv tests/clients/node_modules *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage*
