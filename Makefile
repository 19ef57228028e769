# Every command sets up what it needs first: a virtual environment with pinned packages, and a GL library to render with.
SHELL := /bin/bash
export MUJOCO_GL ?= osmesa

ROOMS := core runtime sim residual bridge calibration regrasp
BIN := .venv/bin
READY := .venv/.ready
TASK ?= fruit_on_plate
OUT ?= out/run

.PHONY: help run test check train picture lock clean
.DEFAULT_GOAL := help

help: ## Show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/make \1\t\2/' | expand -t 16

run: $(READY) ## Run the main job: 20 seeded episodes, with and without recovery; table and report in out/run
	$(BIN)/regrasp run --task $(TASK) --episodes 20 --seed 10000 --out $(OUT)

test: $(READY) ## Run the whole test suite
	$(BIN)/python -m pytest

check: $(READY) ## Check format, lint, strict types and the import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy $(ROOMS)
	$(BIN)/lint-imports --no-cache

train: $(READY) ## Train the recovery skills of the task from the shipped base policy
	$(BIN)/regrasp train --task $(TASK)

picture: $(READY) ## Draw docs/picture.webp from the clips of the last `make run`
	$(BIN)/python -m regrasp.report_picture $(OUT) docs/picture.webp

lock: $(READY) ## Write requirements.txt: what regrasp needs, in the versions installed
	$(BIN)/python .ci/lock.py > .venv/lock.txt
	mv .venv/lock.txt requirements.txt

clean: ## Remove caches and build products; keeps .venv, models and out
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find $(ROOMS) tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): requirements.txt pyproject.toml setup.py package.xml
	@.ci/setup
