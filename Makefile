python := venv/bin/python

.PHONY: run check lint fix test test-gpu bench

run:
	./webui.sh

# What CI runs.
check: lint test

lint:
	$(python) -m ruff check .
	$(python) -m ruff format --check .
	$(python) -m pyright

fix:
	$(python) -m ruff check --fix .
	$(python) -m ruff format .

test:
	./webui.sh test

test-gpu:
	./webui.sh test -m gpu

# One JSON line each.
bench:
	$(python) -m benchmarks.startup
	$(python) -m benchmarks.loop_overhead
