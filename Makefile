# make demo   the embedded run, end to end        make test       the tests
# make quick  the demo's jobs with a tenth of their work
# make rehearsal   the paper run's config and rules over miniature replicas of every repository it names
# make gpu-check   does everything that needs a GPU work on this one, and how fast?    make test-wheel  the installed package
# make speed  how fast everything is, and its page; stopped at any point, the same command continues
# make open   the page of the last demo             make snakemake-report   Snakemake's own report of it
# make lint   formatters, linters, type check, docs    make simulations, make test-slow  statistics; long fault tests too
# make test-slurm   the workflow on a SLURM cluster of two nodes, started here (root and apt)
#
# `make setup PYTHON=...` takes another Python than the first of 3.11, 3.12 and 3.13 that runs.
SUPPORTED := import sys, venv; sys.exit(not (3, 11) <= sys.version_info < (3, 14))
PYTHON ?= $(shell for name in python3.11 python3.12 python3.13 python3; do \
  if $$name -c '$(SUPPORTED)' 2>/dev/null; then echo $$name; break; fi; done)
# Without a GPU, `gpu=2` means two single-threaded jobs at a time: the fastest use of two cores.
VENV := .venv
BIN := $(VENV)/bin
RUN := $(BIN)/zsbench run workflow/configs/embedded.yaml --cores 2 --gpus 2
# pip, with a line for each large download: silence for minutes looks like a hang.
PIP := set -o pipefail; $(BIN)/pip install --progress-bar off --constraint constraints.txt
ALIVE := | awk '/(Downloading|Using cached) .*[0-9] [MG]B/ {print "  " $$0; fflush()} \
  /^Installing collected/ {print "  installing " NF - 3 " packages"; fflush()} /ERROR|error:/'
SHELL := bash
export PATH := $(abspath $(BIN)):$(PATH)
export HF_HUB_DISABLE_TELEMETRY := 1

.PHONY: setup audit demo quick study study-report search open snakemake-report speed gpu-check rehearsal sample test simulations test-slow test-slurm \
  test-wheel lint docs clean

setup: $(VENV)/.done

# These two come without their dependencies (what is used of them needs no more than is here): tests read our exports with
# their own checks. every-eval-ever says that it needs Python 3.12; its validator does not.
$(VENV)/.done: constraints.txt pyproject.toml
	@"$(PYTHON)" -c '$(SUPPORTED)' || \
	  { echo 'PYTHON: "$(PYTHON)" does not run, or lacks venv; allowed: a Python of 3.11 to 3.13' >&2; exit 2; }
	@echo "Setting up $(VENV) with $$($(PYTHON) --version) from the package index: PyTorch (0.2 GB for CPUs; 3 GB with CUDA," \
	  "which Linux takes by default), then about 175 smaller packages (0.5 GB)"
	$(PYTHON) -m venv $(VENV)
	@$(PIP) torch==2.13.0 $(ALIVE)
	@$(PIP) --editable ".[dev,docs,gliclass,slurm]" $(ALIVE)
	@$(BIN)/pip install --quiet --no-deps --ignore-requires-python btzsc==0.1.2 every-eval-ever==0.3.0
	touch $@

demo: setup
	@$(RUN)

# The page of the last `make demo` in the browser.
open:
	@page=reports/embedded/index.html; test -f $$page || { echo "no $$page yet: run make demo" >&2; exit 2; }; \
	  $(firstword $(shell command -v xdg-open open) echo) $$page

# Snakemake's own report of the same run: which rules ran, for how long, on what files.
snakemake-report: setup
	@$(BIN)/snakemake --configfile workflow/configs/embedded.yaml --report reports/embedded/snakemake-report.zip

# Every job of the demo with a tenth of its work, to see that all runs: what CI does on whatever machine it gets.
quick: setup
	@$(RUN) workflow/configs/quick.yaml

# The ablation of GliZNet's loss on a base that has learned, five seeds: hours, resumable. STUDY=study-terms is its three main
# questions, STUDY=study-short the same with fewer steps and seeds.
STUDY := study
study: setup
	@$(BIN)/zsbench run workflow/configs/study.yaml $(patsubst %,workflow/configs/%.yaml,$(filter-out study,$(STUDY))) --cores 2 --gpus 2

# The committed report of the study, and the page of docs that shows it.
study-report:
	rm -rf reports/study && mkdir -p reports/study
	cp -r $(addprefix reports/$(STUDY)/,index.html REPORT.md summary.json tables figures) results/$(STUDY)/config.json reports/study/
	$(BIN)/zsbench readme reports/study docs/study.md

# Which learning rate suits which family: equal tries for each, judged on validation rows; docs/search.md is its record.
RATES := 3e-5 1e-4 3e-4 1e-3
search: setup
	@mkdir -p build
	@for rate in $(RATES); do \
	  echo "{run: search-$$rate, recipe: {learning_rate: $${rate/e/.0e}}}" > build/search-$$rate.yaml && \
	  $(RUN) workflow/configs/search.yaml build/search-$$rate.yaml --target train || exit; done
	@$(BIN)/python -m benchmarks.search $(addprefix search-,$(RATES))

speed: setup
	@$(RUN) --target speed
	@echo "The speed page: reports/embedded/speed/speed.md; the next 'make demo' shows it in the report"

# ZSBENCH_MIRROR stands for the hub, which nothing asks here. Two made-up GPUs: a training is two processes on the CPU, which
# talk over gloo; anything else is one process of one thread, two at a time.
rehearsal: export HF_HUB_OFFLINE := 1
rehearsal: export ZSBENCH_FAKE_GPUS := 2
rehearsal: export OMP_NUM_THREADS := 1
rehearsal: export ZSBENCH_MIRROR := build/rehearsal-mirror
rehearsal: REHEARSE := $(BIN)/snakemake --resources gpu=2 network=2 --cores 2
rehearsal: OVERLAY := workflow/configs/rehearsal.yaml
rehearsal: setup
	$(BIN)/python -m tests.rehearsal mirror $(ZSBENCH_MIRROR)
	$(REHEARSE) data --configfile config.yaml $(OVERLAY)
	$(BIN)/python -m tests.rehearsal scores --run rehearsal --config $(OVERLAY)
	$(BIN)/python -m tests.rehearsal endpoint --port 18427 -- $(REHEARSE) all speed --configfile config.yaml $(OVERLAY)
	@$(BIN)/zsbench show rehearsal

# The committed sample report, the tables of README and docs and the data card's results are those of the last `make demo`; the speed
# page is that of the last `make speed`, which may be older.
sample:
	rm -rf reports/sample/tables reports/sample/figures && mkdir -p reports/sample
	if [ -d reports/embedded/speed ]; then rm -rf reports/sample/speed && cp -r reports/embedded/speed reports/sample/; fi
	cp -r reports/embedded/index.html reports/embedded/REPORT.md reports/embedded/summary.json reports/embedded/tables reports/embedded/figures reports/sample/
	cp results/embedded/logs/seconds.json workflow/resources/seconds.json
	$(BIN)/zsbench readme reports/sample README.md docs/results.md docs/speed.md
	$(BIN)/python -m authored results --run embedded

test: export OMP_NUM_THREADS := 1
test: setup
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

# How often intervals hold the truth and p values are small under the null, over hundreds of made-up experiments.
simulations: export OMP_NUM_THREADS := 1
simulations: setup
	$(BIN)/pytest -m slow -n 2 tests/zsbench/evaluation/test_statistics_simulation.py

test-slow: export OMP_NUM_THREADS := 1
test-slow: setup
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[deepspeed]"
	$(BIN)/pytest -m slow -n 2

# The workflow on a SLURM of two nodes that lives as long as its tests; a line says why where none can be started.
test-slurm: setup
	tests/slurm/cluster.sh $(BIN)/pytest -n 3 -v --no-header tests/slurm

# Does everything that needs a GPU work on this one, and how fast is it? Under 8 minutes; reports/gpu/<device>.md. With the
# packages as they are installed, no setup and no network; docs/machines.md lists which it needs. Others are optional.
gpu-check:
	$(if $(wildcard $(BIN)/python),$(BIN)/python,python3) -m benchmarks.gpu_check

# The wheel in an empty environment, from a folder that is no clone: init, a small run, its report.
test-wheel: setup
	tests/wheel.sh $(PYTHON)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint --configfile workflow/configs/embedded.yaml
	$(BIN)/mypy
	$(MAKE) --no-print-directory docs

# The pages of docs/ as a site in build/docs, without the network; a broken link stops it.
docs: export NO_MKDOCS_2_WARNING := 1
docs: setup
	$(BIN)/mkdocs build --strict --quiet

# Known vulnerabilities of the pinned packages. Needs the advisory database as well as an index; --strict, since a package
# that cannot be looked up would otherwise pass as clean.
audit:
	$(PYTHON) -m venv build/audit
	build/audit/bin/pip install --quiet pip-audit
	build/audit/bin/pip-audit --strict --no-deps --disable-pip --requirement constraints.txt

clean:
	rm -rf results/embedded reports/embedded results/rehearsal reports/rehearsal build
