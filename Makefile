# make demo   the embedded run, end to end        make test       the tests
# make rehearsal   the paper run's config and rules over miniature replicas of every repository it names
# make speed  how fast everything is, and its page; stopped at any point, the same command continues
# make lint   formatters, linters, type check, docs    make simulations, make test-slow  statistics; long fault tests too
# make test-slurm   the workflow on a SLURM cluster of two nodes, started here (root and apt)
# Without a GPU, `gpu=2` means two single-threaded jobs at a time: the fastest use of two cores.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
RUN := $(BIN)/snakemake --cores 2 --resources gpu=2 network=2 --quiet host reason --configfile workflow/configs/embedded.yaml
export PATH := $(abspath $(BIN)):$(PATH)
export HF_HUB_DISABLE_TELEMETRY := 1

.PHONY: setup audit demo speed rehearsal sample test simulations test-slow test-slurm lint docs clean

setup: $(VENV)/.done

# btzsc comes without its dependencies (a web page's, all others are here): tests read our export with its own checks.
$(VENV)/.done: constraints.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt torch==2.13.0
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[dev,docs,gliclass,slurm]"
	$(BIN)/pip install --quiet --no-deps btzsc==0.1.2
	touch $@

demo: setup
	$(RUN) --show-failed-logs
	$(RUN) --report reports/embedded/snakemake-report.zip
	@$(BIN)/zsbench show embedded

speed: setup
	$(RUN) --show-failed-logs speed
	@echo "The speed page: reports/embedded/speed/speed.md; the next 'make demo' shows it in the report"

# ZSBENCH_MIRROR stands for the hub, which nothing asks here; two one-thread jobs at a time, also on machines without a GPU.
rehearsal: export HF_HUB_OFFLINE := 1
rehearsal: export OMP_NUM_THREADS := 1
rehearsal: export ZSBENCH_MIRROR := build/rehearsal-mirror
rehearsal: REHEARSE := $(BIN)/snakemake --cores 2 --resources gpu=2 network=2 --quiet host reason --show-failed-logs
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
	cp -r reports/embedded/index.html reports/embedded/REPORT.md reports/embedded/tables reports/embedded/figures reports/sample/
	$(BIN)/zsbench readme reports/sample README.md docs/results.md docs/speed.md
	$(BIN)/python -m authored results --run embedded

test: export OMP_NUM_THREADS := 1
test: setup
	$(BIN)/pytest -n 2 --dist loadfile

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
	tests/slurm/cluster.sh $(BIN)/pytest -n 3 -v tests/slurm

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
