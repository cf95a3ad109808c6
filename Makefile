# Two commands: `make demo` (environment and app on http://127.0.0.1:7860) and `make test`.
PYTHON ?= python3
VENV ?= .venv
PORT ?= 7860
# The torch that a new environment gets; any from 2.8 to 2.13 will do.
TORCH ?= torch==2.13.0
BIN := $(VENV)/bin
# Python compiles what is imported, at its first import.
INSTALL := $(BIN)/pip install --quiet --no-compile
# Processes that share the test modules; each computes with one thread.
WORKERS ?= 2
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

.PHONY: demo install test test-slow lint format bench bench-gpu load space clean

demo: $(VENV)/.installed
	PORT=$(PORT) $(BIN)/python app.py

install: $(VENV)/.installed

test: $(VENV)/.installed-dev
	$(PYTEST) -m "not slow"

test-slow: $(VENV)/.installed-dev
	$(PYTEST) -m slow

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/speed.py
	$(BIN)/python benchmarks/explain_cost.py
	$(BIN)/python benchmarks/app_cost.py assets/examples/normal-pa-woman.png
	PYTHONPATH=. $(BIN)/python benchmarks/viewer_frames.py
	$(BIN)/python benchmarks/phantom_rate.py
	$(BIN)/python benchmarks/link_mimic.py

# Needs a GPU; writes runs/bench-gpu/gpu.json and gpu.md.
bench-gpu: $(VENV)/.installed
	$(BIN)/python benchmarks/gpu.py --out runs/bench-gpu

load: $(VENV)/.installed
	$(BIN)/python benchmarks/load.py --users 100

# SPACE=USER/NAME is the id of the Space, for its thumbnail.
space: $(VENV)/.installed
	$(BIN)/python tools/make_space.py $(if $(SPACE),--repo $(SPACE))

$(VENV)/.installed: requirements.txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(INSTALL) "$(TORCH)"
	$(INSTALL) --editable .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed requirements-dev.txt
	$(INSTALL) --requirement requirements-dev.txt
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .ruff_cache
