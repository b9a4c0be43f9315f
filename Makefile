# make demo   the embedded run, end to end        make test       the tests
# make quick  the demo with a tenth of the work
# make rehearsal   the paper run's config and rules on miniature replicas of all its repositories
# make gpu-check   checks and times everything that needs a GPU            make test-wheel  the installed package
# make speed  the speed study and its page; if stopped, the same command continues
# make open   the page of the last demo             make snakemake-report   Snakemake's report of it
# make lint   formatters, linters, type check, docs    make simulations, make test-slow  statistics; long fault tests
# make test-runs    whole runs, killed and continued; the recipes of docs/adding; the notebook
# make test-slurm   the workflow on a two-node SLURM cluster started on this machine (needs root and apt)
#
# `make setup PYTHON=...` uses another Python than the first available of 3.11, 3.12 and 3.13.
SUPPORTED := import sys, venv; sys.exit(not (3, 11) <= sys.version_info < (3, 14))
PYTHON ?= $(shell for name in python3.11 python3.12 python3.13 python3; do \
  if $$name -c '$(SUPPORTED)' 2>/dev/null; then echo $$name; break; fi; done)
# Without a GPU, `gpu=2` means two single-threaded jobs at a time, the fastest way to use two cores.
VENV := .venv
BIN := $(VENV)/bin
RUN := $(BIN)/zsbench run workflow/configs/embedded.yaml --cores 2 --gpus 2
# pip with a line for each large download, because minutes of silence look like a hang.
PIP := set -o pipefail; $(BIN)/pip install --progress-bar off --constraint constraints.txt
ALIVE := | awk '/(Downloading|Using cached) .*[0-9] [MG]B/ {print "  " $$0; fflush()} \
  /^Installing collected/ {print "  installing " NF - 3 " packages"; fflush()} /ERROR|error:/'
SHELL := bash
# Tests often wait for processes, so one more worker than there are cores.
WORKERS := $(shell echo $$(( $$(nproc 2>/dev/null || echo 1) + 1 )))
export PATH := $(abspath $(BIN)):$(PATH)
export HF_HUB_DISABLE_TELEMETRY := 1

.PHONY: setup audit demo quick study study-report search open snakemake-report speed gpu-check rehearsal sample test test-runs simulations test-slow test-slurm \
  test-wheel lint docs clean

setup: $(VENV)/.done

# These two are installed without dependencies (the parts used here need none): tests read our exports with them.
# every-eval-ever declares that it needs Python 3.12; its validator does not.
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

# Snakemake's report of the same run: which rules ran, for how long, on which files.
snakemake-report: setup
	@$(BIN)/snakemake --configfile workflow/configs/embedded.yaml --report reports/embedded/snakemake-report.zip

# The demo with a tenth of the work, to check that everything runs; used in CI.
quick: setup
	@$(RUN) workflow/configs/quick.yaml

# The ablation of GliZNet's loss, five seeds: hours, resumable. STUDY=study-terms covers only its three main questions,
# study-values the other settings, study-texts more training texts, study-era-d the published base, study-short is small.
STUDY := study
study: setup
	@$(BIN)/zsbench run workflow/configs/study.yaml $(patsubst %,workflow/configs/%.yaml,$(filter-out study,$(STUDY))) --cores 2 --gpus 2

# The committed reports of the study's runs, and the page of docs that shows them.
study-report:
	$(BIN)/python -m benchmarks.study joint=study-terms values=study-values texts=study-texts era-d=study-era-d

# The search for learning rates: the same rates for each family, compared on validation rows; writes docs/search.md.
RATES := 3e-5 1e-4 3e-4 1e-3
search: setup
	@mkdir -p build
	@for rate in $(RATES); do \
	  echo "{run: search-$$rate, recipe: {learning_rate: $${rate/e/.0e}}}" > build/search-$$rate.yaml && \
	  $(RUN) workflow/configs/search.yaml build/search-$$rate.yaml --target train || exit; done
	@$(BIN)/python -m benchmarks.search $(addprefix search-,$(RATES))

speed: setup
	@$(RUN) --target speed
	@awk -F'|' '/^\|/ && $$10 ~ /[0-9]/ {print $$2 $$3 $$4 $$6 "times" $$7 "[" $$8 "," $$9 "]  goal" $$10 " met:" $$11}' \
	  reports/embedded/speed/targets.md
	@echo "The speed page: reports/embedded/speed/speed.md; the next 'make demo' shows it in the report"

# ZSBENCH_MIRROR replaces the hub. Two simulated GPUs: a training is two processes on the CPU that communicate over
# gloo; any other job is one single-threaded process, two at a time.
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

# Updates the committed sample report, the tables in README and docs and the data card from the last `make demo`, and
# the speed page from the last `make speed`, which may be older.
sample:
	rm -rf reports/sample/tables reports/sample/figures && mkdir -p reports/sample
	if [ -d reports/embedded/speed ]; then rm -rf reports/sample/speed && cp -r reports/embedded/speed reports/sample/; fi
	cp -r reports/embedded/index.html reports/embedded/REPORT.md reports/embedded/summary.json reports/embedded/tables reports/embedded/figures reports/sample/
	cp results/embedded/logs/seconds.json workflow/resources/seconds.json
	$(BIN)/zsbench readme reports/sample README.md docs/results.md docs/speed.md
	$(BIN)/python -m authored results --run embedded

test: export OMP_NUM_THREADS := 1
test: setup
	$(BIN)/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

# Whole runs: killed and continued, two at once, on a copied tree; the recipes of docs/adding; the notebook.
test-runs: export OMP_NUM_THREADS := 1
test-runs: setup
	$(BIN)/pytest -m "runs and not slow" -n $(WORKERS) --dist loadfile --no-loadscope-reorder

# Coverage of intervals, and p values under the null, in hundreds of simulated experiments.
simulations: export OMP_NUM_THREADS := 1
simulations: setup
	$(BIN)/pytest -m slow -n 2 tests/zsbench/evaluation/test_statistics_simulation.py

test-slow: export OMP_NUM_THREADS := 1
test-slow: setup
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[deepspeed]"
	$(BIN)/pytest -m slow -n 2

# The workflow on a temporary two-node SLURM cluster; prints the reason if it cannot be started.
test-slurm: setup
	tests/slurm/cluster.sh $(BIN)/pytest -v --no-header tests/slurm

# Checks and times everything that needs a GPU, in under 8 minutes; writes reports/gpu/<device>.md. Uses the installed
# packages, without setup or network; docs/machines.md lists the required ones.
gpu-check:
	$(if $(wildcard $(BIN)/python),$(BIN)/python,python3) -m benchmarks.gpu_check

# The wheel in an empty environment, outside of a clone: init, a small run, its report.
test-wheel: setup
	tests/wheel.sh $(PYTHON)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint --configfile workflow/configs/embedded.yaml
	$(BIN)/mypy
	$(MAKE) --no-print-directory docs

# The pages of docs/ as a site in build/docs, without network; fails on a broken link.
docs: export NO_MKDOCS_2_WARNING := 1
docs: setup
	$(BIN)/mkdocs build --strict --quiet

# Known vulnerabilities of the pinned packages. Needs the advisory database and an index; --strict, because a package
# that cannot be looked up would otherwise pass.
audit:
	$(PYTHON) -m venv build/audit
	build/audit/bin/pip install --quiet pip-audit
	build/audit/bin/pip-audit --strict --no-deps --disable-pip --requirement constraints.txt

clean:
	rm -rf results/embedded reports/embedded results/rehearsal reports/rehearsal build
