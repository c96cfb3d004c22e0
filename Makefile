# Fine-tune a language model and know that it worked.
#
# A bare machine needs Python >= 3.11, make and a package index that pip can reach. Everything goes into $(VENV).

PYTHON ?= python3
VENV ?= .venv
PEERS ?= .venv-peers
RUN_FOLDER ?= runs/demo

BIN := $(VENV)/bin
TO_CLEAN := build dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache

.DEFAULT_GOAL := help
.PHONY: help install demo test check reference bench bench-engine soak clean

help:
	@echo "make demo       install, fine-tune a sentiment classifier, judge it, classify three sentences, serve it once"
	@echo "make test       install what development needs, and prove the code (this is what CI runs)"
	@echo "make install    install what development needs into $(VENV), once"
	@echo "make check      prove the code: format, lint, types, imports, tests"
	@echo "make reference  write the pages of docs/ that are generated from the code"
	@echo "make bench      measure speed, start-up and memory"
	@echo "make bench-engine   the training engine alone, beside the peers in $(PEERS); takes hours, and goes on where it stopped"
	@echo "make soak       kill and starve runs for hours, note it in RELIABILITY.md; then the tests longer than a minute"
	@echo "make clean      remove caches and built files; environments and runs/ stay"
	@echo
	@echo "PYTHON=python3.12 and VENV=path choose another interpreter and environment."

install: $(VENV)/.installed-dev

demo: $(VENV)/.installed
	$(BIN)/tunewright run recipes/movie-reviews.yaml --out $(RUN_FOLDER)
	$(BIN)/tunewright predict $(RUN_FOLDER) \
	  "A gripping film with a wonderful cast." \
	  "A dull story, badly acted and far too long." \
	  "Funny, warm and beautifully filmed."
	$(BIN)/python examples/ask_over_http.py $(RUN_FOLDER) "A gripping film with a wonderful cast."
	@echo
	@echo "The report:             $(RUN_FOLDER)/report.html (open it in a browser; docs/guide.md says how to read it)"
	@echo "Your own file:          $(BIN)/tunewright run FILE"
	@echo "The Chinese example:    $(BIN)/tunewright run recipes/chinese-reviews.yaml"
	@echo "The verdict once more:  $(BIN)/tunewright report $(RUN_FOLDER)"

test: install
	@$(MAKE) --no-print-directory check

check:
	@echo "== format"
	@$(BIN)/ruff format --check .
	@echo "== lint"
	@$(BIN)/ruff check .
	@echo "== types"
	@$(BIN)/mypy
	@echo "== imports"
	@$(BIN)/lint-imports --no-logo
	@echo "== tests"
	@$(BIN)/python -m pytest --maxfail=10

reference:
	$(BIN)/python tests/house/generated_pages.py

bench: $(PEERS)/.installed
	@set -e; for program in benchmarks/[a-z]*.py; do echo "== $$program"; $(BIN)/python "$$program"; done

bench-engine: $(PEERS)/.installed
	$(BIN)/python benchmarks/engine.py --peers $(PEERS)/bin/python $(ENGINE)

soak:
	$(BIN)/python tests/instruments/campaigns.py $(SOAK)
	@test -n "$(SOAK)" || $(BIN)/python -m pytest -m "slow and not gpu" --timeout=3600

clean:
	rm -rf $(TO_CLEAN)
	find src tests examples benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# ------------------------------------------------------------------------------------------------------- installation

# An installed torch >= 2.11 is kept as it is; without one, the constraints choose the build.
HAS_TORCH = from importlib.metadata import version; print(tuple(map(int, version("torch").split(".")[:2])) >= (2, 11))
IS_NEW_ENOUGH = import sys; sys.exit(sys.version_info < (3, 11))

$(BIN)/python:
	@$(PYTHON) -c '$(IS_NEW_ENOUGH)' || \
	  { echo "Python >= 3.11 is needed; $(PYTHON) is $$($(PYTHON) --version 2>&1). Try: make PYTHON=python3.12"; exit 1; }
	@echo "== environment: $(VENV)"
	@$(PYTHON) -m venv $(VENV) || { echo "No environment was made. On Debian and Ubuntu: apt install python3-venv"; exit 1; }

$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	$(call pip_install,.[serve])

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(BIN)/python
	$(call pip_install,.[dev])
	@touch $(VENV)/.installed

# What the engine is measured beside has an environment of its own.
$(PEERS)/.installed: benchmarks/peers.txt
	@echo "== environment: $(PEERS)"
	@$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --disable-pip-version-check -c benchmarks/peers.txt \
	  torch trl sentence-transformers datasets accelerate transformers peft
	@touch $@

define pip_install
	@echo "== install: $(1)"
	@constraint="-c constraints.txt"; \
	  test "$$($(BIN)/python -c '$(HAS_TORCH)' 2>/dev/null)" != True || constraint=""; \
	  $(BIN)/python -m pip install --disable-pip-version-check $$constraint -e "$(1)" || { \
	    echo; \
	    echo "The installation did not finish. pip says why above; most often it cannot reach a package index."; \
	    echo "What pip is set to: $(BIN)/python -m pip config list"; \
	    echo "A mirror:           PIP_INDEX_URL=https://mirror.example/simple make install"; \
	    exit 1; }
	@touch $@
endef
