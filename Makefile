# Two commands: `make demo` shows the pipeline at work on text that this machine already has, `make test` checks
# everything. Both install what they need into .venv, at the versions of constraints.txt; a second call installs nothing.

VENV := .venv
BIN := $(VENV)/bin
# modules are compiled when they are first imported: compiling all of them here would take 18 of 50 seconds
INSTALL := $(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check -c constraints.txt
# ... if Python may keep what it compiled: without that, every process would compile all it imports anew
unexport PYTHONDONTWRITEBYTECODE
# the first that is Python 3.11 or newer with venv is taken; `make PYTHON=/path/to/python` names one
PYTHONS := $(or $(PYTHON),python3.11 python3 python3.12 python3.13)
# the tests run as processes beside each other: one thread each
ONE_THREAD := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1

.PHONY: demo test check clean
.DELETE_ON_ERROR:

demo: $(VENV)/.run-installed
	$(BIN)/tilth demo

test: check
	$(ONE_THREAD) $(BIN)/python -m pytest -n auto --maxprocesses 4

check: $(VENV)/.test-installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find tilth tests benchmarks -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

# an environment that works is kept, whoever made it
$(VENV)/.python-made:
	@$(BIN)/python -m pip --version >/dev/null 2>&1 && touch $@ && exit 0; \
	for python in $(PYTHONS); do \
	    if "$$python" -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	        "$$python" -m venv --clear $(VENV) && touch $@; exit $$?; \
	    fi; \
	done; \
	echo "make: found no Python 3.11 or newer with venv and pip (tried: $(PYTHONS)); install one (Debian and Ubuntu:" \
	    "apt install python3-venv) or name it: make PYTHON=/path/to/python3" >&2; \
	exit 1

$(VENV)/.run-installed: $(VENV)/.python-made pyproject.toml constraints.txt
	@echo "Installing Tilth into $(VENV) ..."
	@$(INSTALL) torch -e '.[train]'
	@touch $@

$(VENV)/.test-installed: $(VENV)/.run-installed
	@echo "Installing the tools of the tests into $(VENV) ..."
	@$(INSTALL) -e '.[train,beam,language,web,remote,dev]'
	@touch $@
