# Every target sets itself up in .venv; nothing has to be installed first but Python 3.11, 3.12 or 3.13.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
# One TensorFlow per core: more threads than cores only get in each other's way.
WORKERS ?= $(shell n=$$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2); echo $$((n < 4 ? n : 4)))
# Compiling takes longer than running here: XLA neither optimises nor fuses, a third of the time on JAX.
# Neither does Grappler, TensorFlow's own optimiser of graphs (tests/support/grappler.py).
# oneDNN is what `import gfkeras` asks for, and some tests import TensorFlow first.
PYTEST = env TF_NUM_INTRAOP_THREADS=1 TF_NUM_INTEROP_THREADS=1 OMP_NUM_THREADS=1 TF_ENABLE_ONEDNN_OPTS=1 \
	XLA_FLAGS="--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false" \
	GFKERAS_TESTS_WITHOUT_GRAPPLER=1 \
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder -r fEs --durations=5
# What must not need TensorFlow.
CORE_TESTS = $(wildcard tests/layers tests/heads tests/losses tests/backbones tests/models tests/data/augmentation \
	tests/experiments/inversion/test_objective.py tests/experiments/inversion/test_terms.py \
	tests/experiments/test_ablation_grid.py tests/experiments/test_ablation_table.py \
	tests/training/test_optimizers.py tests/training/test_sampled_rows.py tests/training/test_compatible_training.py)

# What touches other libraries: formulas, files, evaluation, inference, the zoo.
OLDEST_TESTS = $(addprefix tests/,layers heads losses evaluation inference data zoo)

export TF_CPP_MIN_LOG_LEVEL ?= 2
# Without bytecode each process compiles TensorFlow's 1,600 modules again, which takes ten seconds.
unexport PYTHONDONTWRITEBYTECODE
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help demo test test-all lint docs coverage oldest oldest-tests wheel bench kits oracles format clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 18

demo: $(VENV)/.installed-demo ## train, evaluate, export, verify; ARGS="--data DIR" takes your own faces
	@$(BIN)/gfkeras demo $(ARGS)

test: lint ## style, prose, types, import rules, the tests on TensorFlow and the core's on JAX
	$(call run_tests,-m "not slow")

test-all: lint docs ## the same, the site, and the tests that take minutes
	$(call run_tests,)

lint: $(VENV)/.installed-test ## style, prose, types and import rules only
	@printf '\n== style\n'
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check .
	@printf '\n== prose\n'
	@$(BIN)/python docs/check_prose.py
	@printf '\n== types\n'
	@$(BIN)/mypy
	@printf '\n== import rules\n'
	@report=$$($(BIN)/lint-imports --no-cache) && tail -n 1 <<<"$$report" || { echo "$$report"; exit 1; }

docs: $(VENV)/.installed-test ## builds the documentation as a site: build/site/index.html
	@printf '\n== documentation\n'
	@$(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going -c docs . build/site
	@echo 'build/site/index.html'

format: $(VENV)/.installed-test ## fixes what ruff can fix
	@$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format .

coverage: $(VENV)/.installed-test ## the quick tests on TensorFlow with their coverage: build/coverage/index.html
	@rm -rf build/coverage
	@KERAS_BACKEND=tensorflow $(PYTEST) -m "not slow" --cov --cov-report=html:build/coverage --cov-report=term:skip-covered

# An environment of its own; uv alone can choose the oldest versions.
oldest: $(BIN)/python ## tests with the oldest versions that setup.cfg allows
	@$(BIN)/python -m pip install --quiet uv
	@$(BIN)/uv venv --quiet --clear --python $(BIN)/python build/oldest
	@$(BIN)/uv pip install --quiet --python build/oldest/bin/python --resolution lowest-direct '.[export,plots,search,test]'
	@$(MAKE) oldest-tests BIN=build/oldest/bin

oldest-tests:
	@KERAS_BACKEND=tensorflow $(PYTEST) -m "not slow" $(OLDEST_TESTS)

wheel: $(BIN)/python ## builds and checks dist/
	@rm -rf dist build/lib
	@$(BIN)/python -m pip install --quiet build twine check-wheel-contents
	@$(BIN)/python -m build --quiet --outdir dist .
	@$(BIN)/twine check --strict dist/*
	@$(BIN)/check-wheel-contents dist/*.whl

bench: $(VENV)/.installed-bench ## the benchmarks, each against a peer measured in the same run
	@failed=; for benchmark in benchmarks/[a-z]*.py; do \
		printf '\n== %s\n' "$$benchmark"; \
		$(BIN)/python "$$benchmark" || failed="$$failed $$benchmark"; \
	done; \
	if [ -n "$$failed" ]; then echo "make bench: failed:$$failed" >&2; exit 1; fi

kits: $(BIN)/python ## copies the common part of the Python kits in export/ into each of them
	@$(BIN)/python export/make_kits.py

oracles: $(BIN)/python ## remakes tests/oracles/*.npz with tensorflow-addons and PyTorch, each in an environment of its own
	@$(BIN)/python tests/oracles/make_oracles.py

clean: ## removes .venv, caches and builds; results in runs/ stay
	rm -rf $(VENV) build dist docs/reference *.egg-info .coverage* .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The JAX tests come first, so that the closing line is that of the whole suite.
define run_tests
@printf '\n== core tests on JAX\n'
@KERAS_BACKEND=jax $(PYTEST) $(1) $(CORE_TESTS)
@printf '\n== all tests on TensorFlow\n'
@KERAS_BACKEND=tensorflow $(PYTEST) $(1)
endef

# -- set-up ---------------------------------------------------------------------------------------

# A Python found on PATH may be a shim that fails or one without venv: each is tried.
$(BIN)/python:
	@for python in $(PYTHON) python3 python3.13 python3.12 python3.11 python; do \
		if "$$python" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
			>/dev/null 2>&1; then \
			echo "== $(VENV): $$("$$python" --version)"; exec "$$python" -m venv $(VENV); \
		fi; \
	done; \
	if command -v uv >/dev/null; then exec uv venv --quiet --seed --python 3.11 $(VENV); fi; \
	echo "make: no Python 3.11 to 3.13 with venv found; name one with: make PYTHON=/path/to/python3" >&2; exit 1

$(VENV)/.installed-demo: EXTRAS := export,plots
$(VENV)/.installed-bench: EXTRAS := export,plots,search
$(VENV)/.installed-test: EXTRAS := all,docs,test
$(VENV)/.installed-%: setup.cfg setup.py pyproject.toml | $(BIN)/python
	@echo "== installing gfkeras[$(EXTRAS)]"
	@# uv takes seconds where pip takes minutes; without it, or where it fails, pip does the same.
	@$(BIN)/python -m pip install --quiet uv 2>/dev/null || true
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --editable '.[$(EXTRAS)]' 2>/dev/null \
		|| $(BIN)/python -m pip install --quiet --editable '.[$(EXTRAS)]'
	@touch $@
