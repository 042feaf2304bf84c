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

# Everything that only a GPU can tell, within eight minutes: the tests that need one, the kernels under CUDA's own
# checkers, and the benchmarks with their rows.
bench-gpu: install
	$(BIN)/pytest --require-gpu -m gpu
	compute-sanitizer --tool memcheck --error-exitcode 1 $(BIN)/python bench/gpu.py --check-only
	compute-sanitizer --tool racecheck --error-exitcode 1 $(BIN)/python bench/gpu.py --check-only
	$(BIN)/python bench/gpu.py
	$(BIN)/python bench/routes.py --device cuda
	$(BIN)/python bench/report.py

demo: install
	$(BIN)/python -m cumel.esc50.demo $(DEMO)

bench: install
	$(BIN)/python bench/features.py --threads 1
	$(BIN)/python bench/features.py --threads 2
	$(BIN)/python bench/extract.py
	$(BIN)/python bench/inference.py
	$(BIN)/python bench/routes.py
	$(BIN)/python bench/train.py
	$(BIN)/python bench/static.py
	$(BIN)/python bench/report.py

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
