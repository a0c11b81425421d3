# `make demo` and `make test` work on a fresh machine: both set up .venv first, once. `make slurm-test` starts a real SLURM of
# one node for its tests, from Debian's packages.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test slurm-test setup

demo: setup
	. $(BIN)/activate && snakemake --cores all --resources gpu=1

test: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder
	@echo "left out: tests of a real SLURM cluster, which need its packages and several minutes (make slurm-test)"

slurm-test: setup
	tests/slurm/packages.sh
	$(BIN)/python -m pytest -m slurm tests/slurm

setup: .venv/ready

.venv/ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "loopda needs Python 3.11 or newer; name one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv .venv || { echo "the venv module is missing: apt-get install python3-venv"; exit 1; }
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test]'
	touch $@
