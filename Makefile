# polset: the open, self-hosted home of Terraform policy sets.
# `make help` lists what there is to make.

SHELL := /bin/bash
.DEFAULT_GOAL := help

GOBIN := $(shell go env GOPATH)/bin
export PATH := $(GOBIN):$(PATH)
export CGO_ENABLED ?= 1

GOLANGCI_LINT_VERSION := v2.15.0
GOFUMPT_VERSION := v0.12.0
SQLC_VERSION := v1.31.1
VERSITYGW_VERSION := v1.8.0
# The program is that of the library.
OPA_VERSION := $(shell sed -n 's|^\s*github.com/open-policy-agent/opa \(v[^ ]*\).*|\1|p' go.mod)

SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
SERVICES := go run ./internal/polsettest/services

.PHONY: help
help: ## List the targets.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 24

.PHONY: build
build: ## Build bin/polset.
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o bin/polset ./cmd/polset

.PHONY: demo
demo: build ## Watch a push become a ready version, on a real local git server.
	@go run ./internal/polsettest/demo -polset bin/polset

# Four packages at once whatever the number of cores: the long ones wait for
# databases, processes and timers for most of their time.
.PHONY: test
test: test-deps ## Run all tests on real parts, under the race detector.
	$(SERVICES) -- go test -race -p 4 -timeout 20m ./...

.PHONY: test-deps
test-deps: programs $(GOBIN)/versitygw $(GOBIN)/opa-$(OPA_VERSION) github-description hashicorp-description sarif-schema ## Install what the tests need: PostgreSQL, Chromium, an S3 server, OPA, and the descriptions of GitHub, HashiCorp and SARIF.

.PHONY: github-description
github-description: ## Fetch GitHub's description of its API and example payloads (30 MB, once).
	@go run ./internal/polsettest/hub/fetch -into testdata/github

# HashiCorp publishes its description inside a Go module, whose other parts
# polset has no use for: it is not in go.mod, and the sum is checked here.
HASHICORP_DESCRIPTION := testdata/hashicorp/openapi.json
HASHICORP_MODULE := github.com/hashicorp/go-tfe/v2@v2.1.0
HASHICORP_SUM := h1:pC570/UrZURMTczgTrUSkQlPddZcqG0lJWB0SfMk+2Y=

.PHONY: hashicorp-description
hashicorp-description: $(HASHICORP_DESCRIPTION) ## Fetch HashiCorp's description of its API (1 MB, once).

$(HASHICORP_DESCRIPTION):
	@module=$$(go mod download -json $(HASHICORP_MODULE)) || { echo "$$module"; exit 1; }; \
	dir=$$(sed -n 's/^.*"Dir": "\(.*\)",$$/\1/p' <<<"$$module"); \
	grep -qF '"Sum": "$(HASHICORP_SUM)"' <<<"$$module" || { echo "$(HASHICORP_MODULE) is not what it was: $$module"; exit 1; }; \
	mkdir -p $(@D) && install -m 644 "$$dir/openapi/spec.json" $@.new && mv $@.new $@

# OASIS publishes SARIF's schema on the web only; this module carries it, and
# polset has no other use for it.
SARIF_SCHEMA := testdata/sarif/sarif-schema-2.1.0.json
SARIF_MODULE := github.com/securego/gosec/v2@v2.29.0
SARIF_SUM := h1:pF2HSLcnY5voqpxQumEe0O5YAAbvF4Syu4qeIewpLyc=

.PHONY: sarif-schema
sarif-schema: $(SARIF_SCHEMA) ## Fetch the schema of SARIF 2.1.0 (120 KB, once).

$(SARIF_SCHEMA):
	@module=$$(go mod download -json $(SARIF_MODULE)) || { echo "$$module"; exit 1; }; \
	dir=$$(sed -n 's/^.*"Dir": "\(.*\)",$$/\1/p' <<<"$$module"); \
	grep -qF '"Sum": "$(SARIF_SUM)"' <<<"$$module" || { echo "$(SARIF_MODULE) is not what it was: $$module"; exit 1; }; \
	mkdir -p $(@D) && install -m 644 "$$dir/report/sarif/testdata/sarif-schema-2.1.0.json" $@.new && mv $@.new $@

.PHONY: programs
programs:
	@missing=; \
	command -v git >/dev/null || missing="$$missing git"; \
	command -v chromium >/dev/null || missing="$$missing chromium"; \
	ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null || missing="$$missing postgresql"; \
	if [ -n "$$missing" ]; then \
		$(SUDO) apt-get update -qq && $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing; \
	fi

$(GOBIN)/versitygw:
	CGO_ENABLED=0 go install github.com/versity/versitygw/cmd/versitygw@$(VERSITYGW_VERSION)

$(GOBIN)/opa-$(OPA_VERSION):
	@dir=$$(mktemp -d) && trap 'rm -rf "$$dir"' EXIT && \
	GOBIN=$$dir CGO_ENABLED=0 go install github.com/open-policy-agent/opa@$(OPA_VERSION) && \
	mkdir -p $(@D) && mv $$dir/opa $@.new && mv $@.new $@

.PHONY: conformance
conformance: build test-deps ## Run the integration tests of HashiCorp's own client, go-tfe, against bin/polset.
	$(SERVICES) -- go test -tags conformance -count=1 -v -timeout 15m -run TestConformance ./internal/polsettest/conformance -polset $(CURDIR)/bin/polset

.PHONY: check
check: fmt-check vet lint rooms ## Check format, vet, lint and the import rules.

.PHONY: fmt
fmt: $(GOBIN)/gofumpt ## Format the code.
	gofumpt -w $$(git ls-files '*.go' | grep -v '^store/internal/rows/')

.PHONY: fmt-check
fmt-check: $(GOBIN)/gofumpt
	@changed=$$(gofumpt -l $$(git ls-files '*.go' | grep -v '^store/internal/rows/')); \
	if [ -n "$$changed" ]; then echo "make fmt would change:"; echo "$$changed"; exit 1; fi

$(GOBIN)/gofumpt:
	go install mvdan.cc/gofumpt@$(GOFUMPT_VERSION)

.PHONY: vet
vet:
	go vet -tags conformance ./...

.PHONY: lint
lint: $(GOBIN)/golangci-lint
	golangci-lint run ./...

$(GOBIN)/golangci-lint:
	go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT_VERSION)

.PHONY: rooms
rooms: ## Check who imports whom.
	go test -count=1 -run 'TestRooms' .

.PHONY: generate
generate: ## Generate the SQL code again (builds sqlc; takes minutes the first time).
	go run github.com/sqlc-dev/sqlc/cmd/sqlc@$(SQLC_VERSION) generate -f store/sqlc.yaml

.PHONY: bench
bench: build test-deps ## Measure fetches, ingests, webhook answers, reads and checks, as ratios.
	$(SERVICES) -durable -- go run ./internal/polsettest/bench
