# Every target makes .venv when it is missing or older than the list of dependencies, and reuses it otherwise.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

# How long OpenMP's threads spin before they sleep; genlab/machine.py says why.
ifeq ($(OMP_WAIT_POLICY)$(KMP_BLOCKTIME),)
export GOMP_SPINCOUNT ?= 30000
endif

.DEFAULT_GOAL := help
.PHONY: help book serve lab test notebooks lint bench constraints clean distclean

help: ## show the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

# The stamp is written last, so a killed installation does not look finished.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "genlab needs Python 3.10 or newer; pass one with: make PYTHON=/path/to/python3"; exit 1; }
	@rm -f $(STAMP)
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[all]"
	@# JupyterLab's kernel waits as the targets below do, however JupyterLab is started.
	$(BIN)/python -m ipykernel install --sys-prefix --name python3 --env GOMP_SPINCOUNT 30000 >/dev/null
	@# nbgrader is here for the tests; its menus would only puzzle readers.
	@$(BIN)/jupyter labextension disable --level=sys_prefix @jupyter/nbgrader >/dev/null 2>&1
	@touch $(STAMP)

book: $(STAMP) ## render the textbook into _book/
	$(BIN)/python -m genlab.book build

serve: $(STAMP) ## render the textbook and serve it on localhost
	$(BIN)/python -m genlab.book serve

lab: $(STAMP) ## open the course in JupyterLab
	$(BIN)/jupyter lab --ServerApp.ip=127.0.0.1 notebooks/00_start_here.ipynb

test: $(STAMP) ## run all tests, then every notebook under strict nbval
	$(BIN)/python -m pytest -n 2 --dist loadfile tests
	$(BIN)/python -m pytest -n 2 --dist loadfile --nbval notebooks

notebooks: $(STAMP) ## run all notebooks again and store their outputs
	$(BIN)/python -m genlab.tools.notebooks

lint: $(STAMP) ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy genlab

bench: $(STAMP) ## measure speed against the plain way, and on a busy machine
	$(BIN)/python -m genlab.tools.bench

constraints: $(STAMP) ## pin what is installed in .venv now
	$(BIN)/python .ci/constraints.py

clean: ## remove what the targets make, but not .venv
	rm -rf _book runs .coverage .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find genlab tests notebooks -name __pycache__ -o -name .ipynb_checkpoints | xargs rm -rf
	@echo ".venv stays; make distclean removes it as well"

distclean: clean ## remove .venv as well
	rm -rf .venv genlab.egg-info
