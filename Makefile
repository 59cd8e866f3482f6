# What people do with this repository. `make` alone lists the targets.

CARGO  ?= cargo
CONFIG ?= serialgate.yaml
PROGRAM = target/release/serialgate

# Where rustup puts cargo; a shell that has not been restarted since does not know.
export PATH := $(PATH):$(HOME)/.cargo/bin

.DEFAULT_GOAL := help
.PHONY: help setup demo test generate firmware acceptance bench interop build deb deb-arm64 run fmt lint

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: build ## Build, then show the whole story with no hardware: an outage, a backlog, a ledger
	$(PROGRAM) demo

build: ## Build the program: target/release/serialgate
	scripts/setup build
	$(CARGO) build --release --locked

deb: ## Make the Debian package for this machine: dist/serialgate_VERSION_ARCH.deb
	scripts/setup deb
	scripts/deb

deb-arm64: ## The same for 64-bit ARM (Raspberry Pi 3 and later), with Debian's Rust (as root)
	scripts/setup deb-arm64
	scripts/deb arm64

run: build ## Build and run the gateway with CONFIG=FILE (default: serialgate.yaml)
	$(PROGRAM) run --config $(CONFIG)

setup: ## Install what the tests need (apt; as root or through sudo)
	scripts/setup test
	scripts/setup firmware
	scripts/setup package

test: ## Install what is needed, then check format, lints and all tests
	scripts/setup test
	scripts/setup firmware
	scripts/setup package
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	$(MAKE) --no-print-directory --silent -C firmware/core test
	$(MAKE) --no-print-directory --silent -C firmware
	$(CARGO) check --locked --manifest-path firmware/rust/fuzz/Cargo.toml
	$(CARGO) check --locked --target-dir target --manifest-path fuzz/Cargo.toml
	$(CARGO) test --workspace --locked

generate: ## Make man pages, completions and the configuration's schema anew, after a change of their sources
	SERIALGATE_GENERATE=1 $(CARGO) test --locked --test generated kept

firmware: ## Build all firmware, test its library here, and tell what flash and RAM it takes
	scripts/setup firmware
	$(MAKE) --no-print-directory -C firmware/core test
	$(MAKE) --no-print-directory -C firmware

bench: ## Measure latency, CPU, memory, writes to flash (as root); twelve minutes; writes docs/benchmarks.md
	scripts/setup test
	$(CARGO) bench --locked --bench live -- --write docs/benchmarks.md
	$(CARGO) bench --locked --bench broker -- --write docs/benchmarks.md
	$(CARGO) bench --locked --bench flash -- --write docs/benchmarks.md

interop: ## Try the bridge with nine brokers that are not ours, and the local broker in a long storm of clients; some minutes; writes docs/interop.md
	scripts/interop
	CHURN_SECONDS=40 $(CARGO) test --locked --test clients churn
	$(CARGO) test --locked --test interop -- --write docs/interop.md

acceptance: ## Install the packages in emulated machines and see boards, reboots, power cuts, bad links (as root); an hour; docs/acceptance.md
	$(MAKE) --no-print-directory deb deb-arm64
	scripts/setup acceptance
	python3 tests/acceptance

fmt: ## Format all code
	$(CARGO) fmt --all

lint: ## Check format and lints
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
