# The commands of this checkout. `make` lists them.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
PORT ?= 8080
DIST ?= dist
# One more than a small machine has cores, since many tests wait.
TEST_PROCESSES ?= 3
# Old Pythons cannot read our modules, so this is checked before any of them runs.
CHECK_PYTHON = $(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'Python 3.11 or newer is needed, this is ' \
	+ sys.version.split()[0] + '; select another one, for example: make demo PYTHON=python3.11')"
IN_ENVIRONMENT := source include/dev/environment.sh &&
# The smallest first. spark_apps/requirements.txt is part of requirements-onnx.txt.
AUDITED := spark_apps/requirements-onnx.txt benchmarks/requirements.txt notebooks/requirements.txt requirements-dev.txt requirements.txt
LOCK = uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
       --custom-compile-command "make lock" $(UPGRADE)

# Files of processes that run.
RUNNING := .local/airflow/standalone.json .local/aws/local_aws.json

.PHONY: help prerequisites demo up down test test-fast test-docker check format docs lock bench bench-daily deploy mwaa wheel audit clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-11s %s\n", $$1, $$2}'

# Listed first, so that a missing Java is reported before the installation.
prerequisites:
	@$(CHECK_PYTHON)
	@$(PYTHON) include/dev/prerequisites.py --java

demo: prerequisites .venv/.wheels ## Run the complete pipeline on this machine and show the result
	@$(IN_ENVIRONMENT) python -m include.dev.demo

up: prerequisites .venv/.wheels ## Start the local AWS and Airflow's UI (PORT=8080; SPARK=1: and a Spark cluster)
	@$(IN_ENVIRONMENT) python -m include.dev.local_airflow start --port "$(PORT)" $(if $(SPARK),--spark)

down: ## Stop what `make up` started; active runs end
	@if [[ -z "$(wildcard $(RUNNING))" ]]; then echo "Nothing was running."; \
	 else $(IN_ENVIRONMENT) python -m include.dev.local_airflow stop; fi

test: prerequisites .venv/.development .venv/.wheels ## Run all tests
	@$(IN_ENVIRONMENT) pytest --numprocesses $(TEST_PROCESSES)

test-fast: prerequisites .venv/.development ## Run the tests without Spark and complete DAGs, within four minutes
	@$(IN_ENVIRONMENT) pytest --numprocesses $(TEST_PROCESSES) tests/unit include spark_apps

test-docker: .venv/.development ## Test docker-compose.yaml on a Docker engine of its own; as root (docs/guides/docker.md)
	@$(IN_ENVIRONMENT) tests/docker/engine.sh tests/docker/run.sh

check: .venv/.development ## Check style, language, types and imports; changes nothing
	@$(IN_ENVIRONMENT) ruff check && ruff format --check && codespell && mypy && PYTHONPATH="plugins:$$PYTHONPATH" lint-imports

format: .venv/.development ## Format the code
	@$(IN_ENVIRONMENT) ruff format && ruff check --fix

docs: .venv/.runtime ## Write the data dictionary and openapi.json in docs/reference from the code
	@$(IN_ENVIRONMENT) PYTHONPATH="spark_apps:$$PYTHONPATH" python -m include.dev.data_dictionary
	@$(IN_ENVIRONMENT) PYTHONPATH="spark_apps:$$PYTHONPATH" python -m include.dev.http_interface

lock: .venv/.development ## Write the locked requirements from the *.in files (UPGRADE=--upgrade takes new versions)
	@$(IN_ENVIRONMENT) $(LOCK) requirements.in -o requirements.txt
	@$(IN_ENVIRONMENT) $(LOCK) requirements-dev.in -o requirements-dev.txt
	@$(IN_ENVIRONMENT) $(LOCK) spark_apps/requirements.in -c requirements.txt -o spark_apps/requirements.txt
	@$(IN_ENVIRONMENT) $(LOCK) spark_apps/requirements-onnx.in -c requirements.txt -o spark_apps/requirements-onnx.txt
	@$(IN_ENVIRONMENT) $(LOCK) include/deploy/model/weights.in -o include/deploy/model/weights.txt
	@$(IN_ENVIRONMENT) $(LOCK) benchmarks/requirements.in -o benchmarks/requirements.txt
	@$(IN_ENVIRONMENT) $(LOCK) notebooks/requirements.in -o notebooks/requirements.txt

bench: prerequisites .venv/.development ## Compare the speed with other tools (BENCH="--help" lists the options)
	@$(IN_ENVIRONMENT) python -m benchmarks.speed $(BENCH)

bench-daily: prerequisites .venv/.development ## Measure daily reruns (BENCH="--help" lists the options)
	@$(IN_ENVIRONMENT) python -m benchmarks.daily $(BENCH)

deploy: .venv/.runtime ## Create or update the AWS resources, after showing the plan (DEPLOY="--help" lists the options)
	@$(IN_ENVIRONMENT) python -m include.deploy $(DEPLOY)

mwaa: .venv/.runtime ## Write the files of an Amazon MWAA environment to dist/mwaa
	@$(IN_ENVIRONMENT) python -m include.deploy.mwaa

wheel: .venv/.development ## Build the package fruits-features (docs/guides/recognise.md) into dist
	@$(IN_ENVIRONMENT) uv build --wheel --quiet --out-dir "$(DIST)" . && ls "$(DIST)"/*.whl

audit: .venv/.development ## Search the locked requirements for known vulnerabilities, over the network
	@$(IN_ENVIRONMENT) python -m include.dev.audit $(AUDITED) $(AUDIT)

clean: down ## Stop everything, then remove the virtual environment, results, packages and caches
	@rm -rf .venv .local dist .coverage .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp is written last, so that an interrupted installation is repeated.
.venv/.runtime: requirements.txt
	@$(CHECK_PYTHON)
	@$(PYTHON) include/dev/prerequisites.py
	@unset PYTHONDONTWRITEBYTECODE && $(PYTHON) include/dev/install.py requirements.txt
	@touch $@

# Wheels of the packages that clusters of the local AWS install, and the network that ships.
.venv/.wheels: .venv/.runtime spark_apps/requirements.txt spark_apps/requirements-onnx.txt include/deploy/model/weights.txt
	@echo "Downloading the packages of local clusters into .local/wheels (180 MB, once) …"
	@$(IN_ENVIRONMENT) PYTHONPATH="spark_apps:$$PYTHONPATH" python -m include.dev.local_aws.deployment --download-only
	@touch $@

.venv/.development: .venv/.runtime requirements-dev.txt
	@unset PYTHONDONTWRITEBYTECODE && $(PYTHON) include/dev/install.py requirements-dev.txt
	@touch $@
