# make demo    the whole pipeline on sounds that it makes itself: no download, no GPU, under three minutes
# make test    the test suite
# Both install into .venv when that is missing or out of date, and only then.

VENV    := .venv
BIN     := $(VENV)/bin
PYTHON  ?= python3
EDITABLE ?= --editable
DEMO    ?= demo
export PYTHONUNBUFFERED := 1

.PHONY: install test test-gpu demo bench bench-gpu lint types check lock clean

install: $(VENV)/installed

$(VENV)/installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt $(EDITABLE) ".[gpu,dev]"
	touch $@

test: install
	$(BIN)/pytest

test-gpu: install
	$(BIN)/pytest --require-gpu

# Every benchmark of the CPU, within eight minutes; then the README's tables and bench/report/index.html.
bench: install
	$(BIN)/python bench/everything.py cpu

# Everything that only a GPU can tell, within eight minutes, into one folder: the benchmarks with their rows and plots, the
# kernels under CUDA's own checkers, the tests that need a device.
GPU_OUT ?= bench/gpu
bench-gpu: install
	$(BIN)/python bench/everything.py cuda --out $(GPU_OUT)

demo: install
	$(BIN)/python -m cumel.esc50.demo $(DEMO)

lint: install
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: install
	$(BIN)/pyright --pythonpath $(BIN)/python

check: lint types test

lock: install
	{ echo "# The versions that are tested together, on CPU and GPU machines alike. \`make lock\` writes this file."; \
	  $(BIN)/python -m pip list --format=freeze --exclude-editable | grep -viE '^(pip|setuptools|wheel|cumel)==' | sort -f; } > constraints.new
	mv constraints.new constraints.txt

clean:
	rm -rf $(VENV) $(DEMO) build *.egg-info
