# Every target works on a machine with Python 3.11, make and nothing of ours.
PYTHON ?= python3
VENV ?= .venv
# Three at a time on two cores, for many wait; the tests of one file share its servers. One at a time: make test PYTEST_FLAGS=
PYTEST_FLAGS ?= -n 3 --dist loadfile --no-loadscope-reorder
BIN := $(VENV)/bin

# Each of our processes would compile hundreds of modules anew at its start, where the environment forbids to keep them.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup dev demo test test-long check lock bench fuzz kill-test chaos hosts docs sizing sbom audit viewer ohif clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

# pip checks every package against its hash; the project itself is then built without the network.
$(VENV)/.runtime: locks/runtime.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("dicomrelay needs Python 3.11 or newer; this is %d.%d. Say: make PYTHON=python3.11 …" % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r locks/runtime.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: locks/dev.txt $(VENV)/.runtime
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r locks/dev.txt
	@touch $@

setup: $(VENV)/.runtime  ## .venv with dicomrelay in it
dev: $(VENV)/.dev  ## .venv with the tools of the developers too

demo: setup  ## real studies through the whole system, and what arrived where
	$(BIN)/dicomrelay demo

test: dev check  ## lint, types, layers and the tests, but for the long ones
	$(BIN)/python -m pytest $(PYTEST_FLAGS)

test-long: dev  ## the tests that `make test` leaves out: other questions of the benchmarks, longer faults
	$(BIN)/python -m pytest $(PYTEST_FLAGS) -m long

check: dev  ## lint, types, layers, spelling
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell

bench: dev  ## speed against the minimal programs, DCMTK, Orthanc and pynetdicom: half an hour on a quiet machine
	$(BIN)/python -m benchmarks --json docs/reference/performance.json; status=$$?; $(BIN)/python -m benchmarks.report && exit $$status

kill-test: dev  ## kill -9 the gateway again and again; KILLS=300 for the long one
	$(BIN)/python -m chaos.kill_gateway --kills $(or $(KILLS),50)

chaos: dev  ## the scorecard: kills, outages, full disks, partitions, with bars; TRIALS=300 ONLY=R3,R6 for more or less of it
	$(BIN)/python -m chaos.scorecard $(if $(TRIALS),--trials $(TRIALS)) $(if $(ONLY),--only $(ONLY)) --write

hosts: dev  ## the proof on several hosts, in network namespaces (root); ONLY=… BROKER=rabbitmq
	$(BIN)/python -m chaos.hosts --broker $(or $(BROKER),redis) $(if $(ONLY),--only $(ONLY)) --write

fuzz: dev  ## mutated PDUs, command sets, headers and files against reader and listener; INPUTS=100000
	$(BIN)/python -m chaos.fuzz --inputs $(or $(INPUTS),100000)

viewer:  ## the viewer's bundle anew, of streamer/viewer/src (needs node and npm; what it makes is committed)
	cd streamer/viewer && npm ci && npm run build

ohif: setup  ## the OHIF viewer beside ours, from npm's registry, checked
	$(BIN)/dicomrelay viewer install ohif

docs: dev  ## the documentation as a site, strictly: a link that leads nowhere is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

sizing: dev  ## the sizing page anew, after `make bench`
	$(BIN)/python -m benchmarks.simulator --write

sbom: dev  ## what is in it, as CycloneDX
	$(BIN)/python -m tests.support.sbom dist/dicomrelay.cdx.json

audit: dev  ## known vulnerabilities of what is locked; says so when nobody could be asked
	$(BIN)/python -m tests.support.dependency_audit

lock:  ## the hash-pinned lock files anew (needs uv)
	uv pip compile pyproject.toml --group build --universal --generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate --python-version 3.11 --custom-compile-command "make lock" -o locks/runtime.txt
	uv pip compile pyproject.toml --group dev -c locks/runtime.txt --universal --generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate --python-version 3.11 --custom-compile-command "make lock" -o locks/dev.txt

clean:  ## remove .venv, caches and builds; never var, which holds images
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist build site
