# make help
.DEFAULT_GOAL := help
.PHONY: help setup tools demo local tune test lint image image-test bench-serving bench-training bench-aws

PYTHON ?= python3
export PYTHON
export PYTHONPATH := $(CURDIR)/container:$(CURDIR)/lambda/layer:$(CURDIR)
export CSV IMAGES EPOCHS ENCODER PRETRAINED TRIALS METRIC COLLECTION
PATH := $(CURDIR)/.venv/bin:$(PATH):/usr/sbin
DEMO_OPTIONS = $(if $(CSV),--csv "$$CSV") $(if $(IMAGES),--images "$$IMAGES") $(if $(EPOCHS),--epochs "$$EPOCHS") \
	$(if $(ENCODER),--encoder "$$ENCODER") $(if $(PRETRAINED),--pretrained "$$PRETRAINED") \
	$(foreach pair,$(HYPERPARAMETERS),--hyperparameter '$(pair)')

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-15s%s\n", $$1, $$2 }' Makefile

setup: ## one .venv for serving, training and development, and nginx
	@scripts/setup.sh

demo: setup ## uploads a CSV to a stack on this machine and follows it to lines: make demo [CSV=rows.csv IMAGES=folder] [EPOCHS= ENCODER= PRETRAINED=folder HYPERPARAMETERS='name=value …']
	@python -m local.demo $(DEMO_OPTIONS)

local: setup ## the stack of template.yaml on this machine, for any program with boto3: make local [PRETRAINED=folder]
	@python -m local.sagemaker.cloud $(if $(PRETRAINED),--pretrained "$$PRETRAINED")

tune: setup ## tries hyperparameters on the demo's data: make tune [TRIALS=8 METRIC=validation_cider PARAMETERS='learning_rate …'] [as for demo]
	@python -m local.tune $(DEMO_OPTIONS) $(if $(TRIALS),--trials "$$TRIALS") $(if $(METRIC),--metric "$$METRIC") \
		$(foreach name,$(PARAMETERS),--parameter '$(name)')

test: setup ## lint, then every test: those of the contract with nothing beside them, for many of them watch the clock
	@$(MAKE) --no-print-directory --jobs=2 tools lint
	@failed=0; set -x; \
	OMP_NUM_THREADS=1 pytest --numprocesses=auto --maxprocesses=4 --dist=loadfile --ignore=tests/contract || failed=1; \
	pytest tests/contract || failed=1; \
	exit $$failed

tools: setup ## linters of the template, SAM and AWS's Lambda runtime, which only tests use, in build/tools
	@scripts/tools.sh

lint: setup ## format, style, types, borders between packages, shell scripts
	ruff format --check
	ruff check
	mypy
	lint-imports
	shellcheck $$(grep -rIlE '^#!/.*[ /](ba)?sh$$' --exclude-dir=.git --exclude-dir=.venv --exclude-dir=build .)

bench-serving: setup ## how fast serving is, beside other servers and engines: takes an hour and a half, and a quiet machine
	@benchmarks/serving/peers/install.sh
	@python -m benchmarks.serving.models
	@python -m benchmarks.serving.start
	@python -m benchmarks.serving.tokens --shape small
	@python -m benchmarks.serving.tokens --shape medium
	@python -m benchmarks.serving.load --shape lstm
	@python -m benchmarks.serving.load --shape small
	@python -m benchmarks.serving.growth --shape lstm
	@python -m benchmarks.serving.growth --shape small

bench-training: ## how fast training is, and what it survives: make bench-training COLLECTION=folder PRETRAINED=folder; takes hours, and a quiet machine
	@test -n "$$COLLECTION" && test -n "$$PRETRAINED" || { \
		echo "make bench-training needs COLLECTION=FOLDER (benchmarks/captioning/data.py says what it holds) and PRETRAINED=FOLDER with encoder weights" >&2; exit 2; }
	@$(MAKE) --no-print-directory setup
	@python -m benchmarks.training.scan
	@python -m benchmarks.training.growth
	@python -m benchmarks.training.pictures "$$COLLECTION/images" --pretrained "$$PRETRAINED"
	@python -m benchmarks.training.loop "$$COLLECTION" --pretrained "$$PRETRAINED"
	@python -m benchmarks.training.tokens
	@python -m benchmarks.training.kill
	@python -m benchmarks.training.faults

bench-aws: setup ## how fast the ingest is, and what it survives: takes a quarter of an hour, and a quiet machine
	@python -m benchmarks.aws.ingest
	@python -m benchmarks.aws.prepare
	@python -m benchmarks.aws.faults

DOCKER ?= docker
export DOCKER

image: ## the container image: make image [DOCKER=podman BUILD_OPTIONS='--build-arg REQUIREMENTS=serving']
	BUILDAH_FORMAT=docker $(DOCKER) build $(BUILD_OPTIONS) -t ogiri .

image-test: setup image ## builds the image and runs the README's commands with it: needs docker or podman
	OGIRI_TEST_IMAGE=ogiri pytest tests/image
