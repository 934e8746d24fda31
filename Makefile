# make help
.DEFAULT_GOAL := help
.PHONY: help setup demo test lint image

PYTHON ?= python3
export PYTHON
export PYTHONPATH := $(CURDIR)/container:$(CURDIR)/lambda/layer:$(CURDIR)
export CSV IMAGES EPOCHS ENCODER PRETRAINED
PATH := $(CURDIR)/.venv/bin:$(PATH):/usr/sbin

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "%-8s%s\n", $$1, $$2 }' Makefile

setup: ## one .venv for serving, training and development, and nginx
	@scripts/setup.sh

demo: setup ## the whole loop on this machine: make demo [CSV=rows.csv IMAGES=folder] [EPOCHS= ENCODER= PRETRAINED=folder HYPERPARAMETERS='name=value …']
	@python -m local.demo $(if $(CSV),--csv "$$CSV") $(if $(IMAGES),--images "$$IMAGES") $(if $(EPOCHS),--epochs "$$EPOCHS") \
		$(if $(ENCODER),--encoder "$$ENCODER") $(if $(PRETRAINED),--pretrained "$$PRETRAINED") \
		$(foreach pair,$(HYPERPARAMETERS),--hyperparameter '$(pair)')

test: setup lint ## lint, then every test
	pytest

lint: setup ## format, style, types, borders between packages, shell scripts
	ruff format --check
	ruff check
	mypy
	lint-imports
	shellcheck $$(grep -rlE '^#!/.*[ /](ba)?sh$$' --exclude-dir=.git --exclude-dir=.venv --exclude-dir=build .)

image: ## the container image
	docker build -t ogiri .
