# make book · test · serve · data · results · notebooks · bench · lint · check-all · clean
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip install -q --disable-pip-version-check -c constraints.txt
# A CPU build of torch is enough, and much smaller than the default of the package index on Linux; where this index cannot be reached, the default is taken.
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu

.PHONY: book test serve data results notebooks bench lint check-all clean
.DEFAULT_GOAL := book

$(VENV)/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c "import sys; sys.exit('Python 3.11 or newer is needed, this is %d.%d' % sys.version_info[:2] if sys.version_info < (3, 11) else 0)"
	test -x $(PY) || $(PYTHON) -m venv $(VENV)
	@echo "Installing the packages of constraints.txt into $(VENV)"
	@$(PIP) --timeout 10 --retries 0 --index-url $(TORCH_INDEX) torch >/dev/null 2>&1 || true
	@$(PIP) -e ".[book,test,lint]"
	@touch $@

book: $(VENV)/installed
	@$(PY) tools/build.py

test: book
	@$(PY) -m pytest

serve: book
	@$(PY) -m http.server --directory _build/html 8000

data: $(VENV)/installed
	@$(PY) -m deepdynamics.data fetch

results: $(VENV)/installed
	@OMP_NUM_THREADS=1 $(PY) -m deepdynamics.experiments $(CHAPTER)

notebooks: book
	@$(PY) tools/notebooks.py

# make chapter NAME=my-chapter [PART=folder] [TITLE="My chapter"] begins it, or says what it lacks; without NAME, what any lacks
.PHONY: chapter
chapter: $(VENV)/installed
	@$(PY) tools/chapter.py $(if $(filter command,$(firstword $(origin NAME))),"$$NAME" --part "$$PART" --title "$$TITLE")

bench: $(VENV)/installed
	@$(PIP) -e ".[bench]"
	@for file in benchmarks/bench_*.py; do echo "== $$file"; $(PY) $$file || exit 1; done

lint: $(VENV)/installed
	@$(PY) -m ruff format --check . && $(PY) -m ruff check . && $(PY) -m mypy lib

check-all: lint book
	@DEEPDYNAMICS_ALL_PAGES=1 $(PY) -m pytest -m "long or not long"

clean:
	rm -rf _build
