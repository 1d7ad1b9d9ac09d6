# make book · test · serve · data · results · notebooks · slides · pdf · chapter · mutants · bench · lint · check-all · clean
PYTHON ?= python3
PY := .venv/bin/python

.PHONY: environment book test serve data results notebooks slides pdf chapter mutants bench lint check-all clean
.DEFAULT_GOAL := book

environment:
	@$(PYTHON) tools/environment.py

book: environment
	@$(PY) tools/build.py

# One worker a core, and whole files to a worker: what a file builds once is not built twice.
PYTEST := $(PY) -m pytest -n auto --maxprocesses 4 --dist loadscope --no-loadscope-reorder

test: book
	@$(PYTEST) --durations 15

serve: book
	@$(PY) -m http.server --directory _build/html 8000

data: environment
	@$(PY) -m deepdynamics.data fetch

# make results [CHAPTER=ntk] [WORKERS=8] [CLUSTER=local or tcp://address:8786] [DEVICE=cuda] [KEEP=folder]; interrupted, it goes on where it was
results: environment
	@$(PY) -m deepdynamics.results $(CHAPTER) $(if $(WORKERS),--workers $(WORKERS)) $(if $(CLUSTER),--cluster $(CLUSTER)) $(if $(DEVICE),--device $(DEVICE)) $(if $(KEEP),--keep $(KEEP))

notebooks: book
	@$(PY) tools/notebooks.py

slides: book
	@$(PY) tools/slides.py

# by Chromium: apt install chromium
pdf: book
	@$(PY) tools/pdf.py

# make chapter NAME=my-chapter [PART=folder] [TITLE="My chapter"] begins it, or says what it lacks; without NAME, what any lacks
chapter: environment
	@$(PY) tools/chapter.py $(if $(filter command,$(firstword $(origin NAME))),"$$NAME" --part "$$PART" --title "$$TITLE")

# faults planted in copies of the library, each against its module's tests and one against each chapter: fails where one is not caught
mutants: environment
	@$(PY) tools/mutants.py

# every benchmark beside its peers; what they find goes to book/results/benchmarks.json, and to the page on performance
bench: environment
	@$(PYTHON) tools/environment.py bench
	@for file in benchmarks/bench_*.py; do echo "== $$file"; $(PY) $$file || exit 1; done

lint: environment
	@$(PY) -m ruff format --check . && $(PY) -m ruff check . && $(PY) -m mypy lib

check-all: lint book
	@DEEPDYNAMICS_ALL_PAGES=1 $(PYTEST) -m "long or not long"

clean:
	rm -rf _build
