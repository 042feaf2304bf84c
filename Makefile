# make demo    the whole pipeline on sounds that it makes itself: no download, no GPU, under three minutes
# make test    every behaviour: of each grid of parameters, every pair of values. make test-all: every combination
# They install into .venv when that is missing or out of date, and only then; with CPU=1 without anything for a GPU.

VENV    := .venv
BIN     := $(VENV)/bin
PYTHON  ?= python3
EDITABLE ?= --editable
DEMO    ?= demo
export PYTHONUNBUFFERED := 1

.PHONY: install test test-all test-gpu gpu-first gpu-second demo bench bench-gpu docs lint types check lock clean

install: $(VENV)/installed

# CPU=1 takes torch's wheels for CPUs, and ONNX Runtime's. On Linux x86_64 the ordinary index has those for CUDA alone;
# https://pytorch.org/get-started names the index of the others, which goes into TORCH_INDEX.
CPU         ?=
TORCH_INDEX ?=
TORCH       ?= $(shell grep -E '^torch(audio)?==' constraints.txt)
FOR_CPU     := convert,export,pretrained,ray,tensorboard,verify
EXTRAS      := $(if $(CPU),$(FOR_CPU),all)
SIZE        := $(if $(CPU),2.4 GB,7 GB)
CONSTRAINTS := $(if $(CPU),$(VENV)/constraints.txt,constraints.txt)
PIP         := $(BIN)/python -m pip --disable-pip-version-check install --quiet

$(VENV)/installed: pyproject.toml constraints.txt setup.py kernels/fft.cuh $(wildcard kernels/simd/*.cc kernels/simd/*.h)
ifneq ($(CPU),)
	@test -n "$(TORCH_INDEX)" -o "$$(uname -sm)" != "Linux x86_64" || { \
	  echo "CPU=1: give TORCH_INDEX=..., the index of torch's CPU wheels, which https://pytorch.org/get-started names" >&2; exit 2; }
endif
	@echo "installing into $(VENV), which downloads what pip has not yet: in all $(SIZE)" >&2
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
ifneq ($(CPU),)
	sed -E '/^torch(audio)?==/d; s/^onnxruntime-gpu/onnxruntime/' constraints.txt > $(CONSTRAINTS)
	$(PIP) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) $(TORCH)
	$(BIN)/python -W ignore -c "import torch, torchaudio; assert torch.version.cuda is None, f'torch {torch.__version__} is for CUDA'"
endif
	$(PIP) --constraint $(CONSTRAINTS) $(EDITABLE) ".[$(EXTRAS),dev]"
	touch $@

# A process per core and one more, as some wait for a browser or for other processes. The tests of a file stay in one,
# where they share what their fixtures made.
PARALLEL := --numprocesses $(shell expr $$(nproc 2>/dev/null || echo 2) + 1) --dist loadfile
test: install
	$(BIN)/pytest $(PARALLEL)

test-all: install
	$(BIN)/pytest $(PARALLEL) --exhaustive

# The tests with those that need a GPU, and our kernels under CUDA's own checkers. These see the edges of torch's memory
# only without its pool, and know calls of the driver that fail by design.
OURS := $(foreach entry,frontend cut features finish statistics mfcc,--kernel-regex kne=$(entry))
SANITIZER ?= compute-sanitizer --report-api-errors no --error-exitcode 1 $(OURS)
test-gpu: install
	$(BIN)/python bench/warm.py
	$(BIN)/pytest --require-gpu
	set -e; for tool in memcheck racecheck synccheck; do \
	  PYTORCH_NO_CUDA_MEMORY_CACHING=1 $(SANITIZER) --tool $$tool $(BIN)/python bench/gpu.py --check-only; done

# The first nine minutes on a GPU machine that has python3 with torch, CuPy and NumPy, and nothing of ours; without a
# network. Then what wheels of librosa, soundfile and soxr in wheels/ make possible.
GPU_PYTHON ?= python3
FIRST_OUT ?= bench/gpu-first
gpu-first:
	$(GPU_PYTHON) bench/first.py --out $(FIRST_OUT)
gpu-second:
	$(GPU_PYTHON) bench/first.py --more --out $(FIRST_OUT)/more

# Every benchmark of the CPU, within eight minutes; then the tables of the README and docs, and bench/report/index.html.
bench: install
	$(BIN)/python bench/run_all.py cpu

# All that a GPU can be timed at, checked first, within eight minutes, into one folder: rows, plots and page.
GPU_OUT ?= bench/gpu
bench-gpu: install
	$(BIN)/python bench/run_all.py cuda --out $(GPU_OUT)

demo: install
	$(BIN)/python -m cumel.esc50.cli.demo $(DEMO)

# The pages of docs/ and the API reference, into build/docs. A warning is an error.
$(BIN)/mkdocs: | install
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt $(EDITABLE) ".[docs]"
docs: $(BIN)/mkdocs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

lint: install
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: install
	set -e; for system in Linux Darwin Windows; do \
	  $(BIN)/pyright --pythonpath $(BIN)/python --pythonplatform $$system; done

check: lint types test

lock: install
	{ echo "# The versions that are tested together, on CPU and GPU machines alike. \`make lock\` writes this file."; \
	  $(BIN)/python -m pip list --format=freeze --exclude-editable | grep -viE '^(pip|setuptools|wheel|cumel)==' | sort -f; } > constraints.new
	mv constraints.new constraints.txt

clean:
	rm -rf $(VENV) $(DEMO) build dist *.egg-info
