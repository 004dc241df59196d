# make run    open the marketplace at http://localhost:8000
# make test   lint, types and tests; CI (.ci/run) runs make browser and make prove as well
# make browser  what only a real browser can show: clicks, keys, the back button, narrow screens, contrast (needs chromium)
# make faults  stop, kill and freeze one thing after the other: the bus, the database, a service in the middle of a call, `admitone up`; the last version beside this one; three NATS servers, a standby (three minutes)
# make check-deploy  build deploy/Dockerfile and run the image hardened; play staging's manifests by podman and sell a ticket through their Ingress; roll two replicas behind nginx (needs root and Debian; four minutes the first time, two later)
# make races  what only many connections at once can show: hot tickets, edits and locks, relays, timers (some minutes)
# make fuzz  every bad input in every field, and what schemathesis makes of the OpenAPI documents (some minutes)
# make prove  all that shows that no ticket is sold twice: simulate, planted bugs, faults, races, fuzz, chaos (a quarter of an hour)
# make screenshots  take docs/screenshots/*.png anew, with the tickets of admitone demo (needs chromium)
# make simulate [SEEDS=1000] [FIRST=seed] [BUG=no-fencing]  histories of a simulated marketplace with faults, or a mistake being caught (BUG=? lists them)
# make plant  catch every planted bug anew, and write docs/planted.md
# make stripe  run the contract of the card processors against Stripe's test mode too (needs STRIPE_SECRET_KEY=sk_test_...)
# make docs   write docs/events.md, docs/asyncapi.json and the upper halves of docs/services/*.md anew
# make figures  print memory, idle CPU, latencies, open pages, and pages and searches in 100,000 tickets (a benchmark, not a test)
# make bench [QUICK=1]  measure throughput, CPU and latencies against pgbench, a hello-world and an ordinary implementation, with goals (17 minutes; quick: 5; needs wrk)
# make money-soak [SALES=1000]  sell while everything about money goes wrong, and count every cent (a benchmark, some minutes)
# make chaos [CYCLES=24] [SEED=N]  kill and freeze the services, PostgreSQL and NATS under load, change tables, then look what was lost (two minutes)
# make lock   resolve the dependencies anew (needs uv)

PYTHON ?= python3
BIN := .venv/bin
.PHONY: run test types units browser faults check-deploy races fuzz screenshots stripe docs figures bench money-soak lock clean simulate plant chaos prove

run: .venv/run
	@exec $(BIN)/admitone up

test: .venv/test
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports
	$(MAKE) --jobs=2 types units

types: .venv/test
	$(BIN)/mypy

units: .venv/test
	$(BIN)/pytest

browser: .venv/browser
	$(BIN)/pytest tests/browser

faults: .venv/test
	$(BIN)/pytest tests/prove/faults

check-deploy: .venv/test
	scripts/image.sh
	$(BIN)/pytest -n0 tests/prove/deploy

races: .venv/test
	$(BIN)/pytest -n0 tests/prove/races
	PYTHONPATH=tests $(BIN)/python -m prove.races

fuzz: .venv/fuzz
	$(BIN)/pytest -n0 tests/prove/fuzz

screenshots: .venv/browser
	PYTHONPATH=tests $(BIN)/python -m browser.screenshots

simulate: .venv/test
	PYTHONPATH=tests $(BIN)/python -m prove.simulator run --seeds $(or $(SEEDS),1000) $(if $(FIRST),--first $(FIRST)) $(if $(BUG),--bug '$(BUG)')

plant: .venv/test
	PYTHONPATH=tests $(BIN)/python -m prove.simulator plant

prove: .venv/fuzz
	PYTHONPATH=tests $(BIN)/python -m prove.simulator replay
	PYTHONPATH=tests $(BIN)/python -m prove.simulator twice --seeds 100
	$(MAKE) simulate FIRST=1
	$(MAKE) chaos SEED=1
	$(MAKE) faults
	$(MAKE) races
	$(MAKE) fuzz

stripe: .venv/test
	$(BIN)/pytest -n0 tests/payments/test_gateway_contract.py

docs: .venv/run
	$(BIN)/admitone docs

figures: .venv/run
	$(BIN)/python bench/figures.py
	$(BIN)/python bench/pages.py
	$(BIN)/python bench/screen.py
	$(BIN)/python bench/search.py

bench: .venv/run .venv/conventional/installed
	PYTHONPATH=src $(BIN)/python -m bench $(if $(QUICK),--quick --compare) --conventional .venv/conventional/bin/python

.venv/conventional/installed: bench/conventional/requirements.txt
	@echo "Installing what bench/conventional needs, in an environment of its own (once) ..."
	@test -x .venv/conventional/bin/python || $(PYTHON) -m venv .venv/conventional
	@.venv/conventional/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

money-soak: .venv/run
	$(BIN)/python bench/money_soak.py --sales $(or $(SALES),1000)

chaos: .venv/test
	PYTHONPATH=tests $(BIN)/python -m prove.chaos --cycles $(or $(CYCLES),24) $(if $(SEED),--seed $(SEED)) $(if $(RESULTS),--results $(RESULTS)) $(if $(REPORT),--report $(REPORT)) $(if $(CARELESS),--careless)

.venv/run: requirements.txt pyproject.toml
	@echo "Installing into .venv (about half a minute, once) ..."
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Admit One needs Python 3.11 or later; set PYTHON to one: make run PYTHON=python3.12")'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

.venv/test: .venv/run requirements-dev.txt
	@echo "Installing the tools for the tests (about half a minute, once) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@touch $@

.venv/browser: .venv/test requirements-browser.txt
	@echo "Installing what drives a browser (about 50 MB, once) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-browser.txt
	@touch $@

.venv/fuzz: .venv/test requirements-fuzz.txt
	@echo "Installing what makes up requests (about 30 MB, once) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-fuzz.txt
	@touch $@

lock:
	uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11 \
		--extra local --group build --output-file requirements.txt pyproject.toml
	uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11 \
		--extra local --group build --group dev --constraint requirements.txt --output-file requirements-dev.txt pyproject.toml
	uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11 \
		--group browser --constraint requirements-dev.txt --output-file requirements-browser.txt
	uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11 \
		--group fuzz --constraint requirements-dev.txt --output-file requirements-fuzz.txt
	uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11 \
		--constraint requirements.txt --output-file deploy/requirements.txt pyproject.toml
	uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11 \
		--group conventional --constraint requirements-dev.txt --output-file bench/conventional/requirements.txt

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
