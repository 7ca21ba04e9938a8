# The commands of this checkout. `make` lists them.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
PORT ?= 8080
# One more than a small machine has cores, since many tests wait.
TEST_PROCESSES ?= 3
IN_ENVIRONMENT := source include/dev/environment.sh &&
# spark_apps/requirements.txt is part of requirements-onnx.txt.
AUDITED := requirements.txt requirements-dev.txt spark_apps/requirements-onnx.txt benchmarks/requirements.txt
LOCK = uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
       --custom-compile-command "make lock"

.PHONY: help demo up down test test-fast test-docker check format docs lock bench bench-daily deploy mwaa audit clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-11s %s\n", $$1, $$2}'

demo: .venv/.wheels ## Run the complete pipeline on this machine and show the result
	@$(PYTHON) include/dev/prerequisites.py
	@$(IN_ENVIRONMENT) python -m include.dev.demo

up: .venv/.wheels ## Start the local AWS and Airflow's UI (SPARK=1: and a Spark cluster)
	@$(PYTHON) include/dev/prerequisites.py
	@$(IN_ENVIRONMENT) python -m include.dev.local_airflow start --port $(PORT) $(if $(SPARK),--spark)

down: .venv/.runtime ## Stop what `make up` started
	@$(IN_ENVIRONMENT) python -m include.dev.local_airflow stop

test: .venv/.development .venv/.wheels ## Run all tests
	@$(PYTHON) include/dev/prerequisites.py
	@$(IN_ENVIRONMENT) pytest --numprocesses $(TEST_PROCESSES)

test-fast: .venv/.development ## Run the tests without Spark and complete DAGs, within four minutes
	@$(PYTHON) include/dev/prerequisites.py
	@$(IN_ENVIRONMENT) pytest --numprocesses $(TEST_PROCESSES) tests/unit include spark_apps

test-docker: .venv/.development ## Test docker-compose.yaml on a Docker engine of its own; as root (docs/guides/docker.md)
	@$(IN_ENVIRONMENT) tests/docker/engine.sh tests/docker/run.sh

check: .venv/.development ## Check style, language, types and imports; changes nothing
	@$(IN_ENVIRONMENT) ruff check && ruff format --check && codespell && mypy && PYTHONPATH="plugins:$$PYTHONPATH" lint-imports

format: .venv/.development ## Format the code
	@$(IN_ENVIRONMENT) ruff format && ruff check --fix

docs: .venv/.runtime ## Write docs/reference/data-dictionary.md from the schemas
	@$(IN_ENVIRONMENT) PYTHONPATH="spark_apps:$$PYTHONPATH" python -m include.dev.data_dictionary

lock: .venv/.development ## Write the locked requirements from the *.in files
	@$(IN_ENVIRONMENT) $(LOCK) requirements.in -o requirements.txt
	@$(IN_ENVIRONMENT) $(LOCK) requirements-dev.in -o requirements-dev.txt
	@$(IN_ENVIRONMENT) $(LOCK) spark_apps/requirements.in -c requirements.txt -o spark_apps/requirements.txt
	@$(IN_ENVIRONMENT) $(LOCK) spark_apps/requirements-onnx.in -c requirements.txt -c requirements-dev.txt -o spark_apps/requirements-onnx.txt
	@$(IN_ENVIRONMENT) $(LOCK) benchmarks/requirements.in -o benchmarks/requirements.txt

bench: .venv/.development ## Compare the speed with other tools (BENCH="--help" lists the options)
	@$(PYTHON) include/dev/prerequisites.py
	@$(IN_ENVIRONMENT) python -m benchmarks.speed $(BENCH)

bench-daily: .venv/.development ## Measure daily reruns (BENCH="--help" lists the options)
	@$(PYTHON) include/dev/prerequisites.py
	@$(IN_ENVIRONMENT) python -m benchmarks.daily $(BENCH)

deploy: .venv/.runtime ## Create or update the AWS resources, after showing the plan (DEPLOY="--help" lists the options)
	@$(IN_ENVIRONMENT) python -m include.deploy $(DEPLOY)

mwaa: .venv/.runtime ## Write the files of an Amazon MWAA environment to dist/mwaa
	@$(IN_ENVIRONMENT) python -m include.deploy.mwaa

audit: .venv/.development ## Search the locked requirements for known vulnerabilities, over the network
	@$(IN_ENVIRONMENT) pip-audit --disable-pip --require-hashes $(AUDITED:%=-r %)

clean: ## Remove the virtual environment and all local results
	@rm -rf .venv .local

# The stamp is written last, so that an interrupted installation is repeated.
.venv/.runtime: requirements.txt
	@$(PYTHON) include/dev/prerequisites.py
	@echo "Installing the locked requirements into .venv (some minutes, once) …"
	@test -x .venv/bin/python || $(PYTHON) -m venv .venv
	@unset PYTHONDONTWRITEBYTECODE && .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	@touch $@

# Wheels of the packages that clusters of the local AWS install. pip has them in its cache.
.venv/.wheels: .venv/.runtime spark_apps/requirements.txt spark_apps/requirements-onnx.txt
	@$(IN_ENVIRONMENT) PYTHONPATH="spark_apps:$$PYTHONPATH" python -m include.dev.local_aws.deployment --download-only
	@touch $@

.venv/.development: .venv/.runtime requirements-dev.txt
	@unset PYTHONDONTWRITEBYTECODE && .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@touch $@
