# The verbs of this repository. `make` alone lists them.

SHELL := /bin/bash
TARGET := $(or $(CARGO_TARGET_DIR),target)
ARGS ?=
SECONDS_PER_TARGET ?= 60
SEEDS ?= 1000
SIM_SECONDS ?= 600

.DEFAULT_GOAL := help
.PHONY: help run fleet build test check conform bench million comeback hostile fuzz sim toolchain

help: ## list these verbs
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "make %-8s  %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

run: toolchain ## build and serve in development mode; more flags for the server in ARGS="..."
	cargo build --release --locked --package roadstead-engine --bin roadstead
	@printf '\nclients   ws://127.0.0.1:8000/connection/websocket\necho      ws://127.0.0.1:8000/echo\npage      http://127.0.0.1:9000/\nmetrics   http://127.0.0.1:9000/metrics\n(unless ARGS say otherwise; Ctrl-C ends it)\n\n'
	@exec $(TARGET)/release/roadstead serve --insecure --echo $(ARGS)

fleet: toolchain ## build and serve three nodes as one fleet on loopback; more flags for each node in ARGS="..."
	cargo build --release --locked --package roadstead-engine --bin roadstead
	@exec tools/fleet $(TARGET)/release/roadstead $(ARGS)

build: toolchain ## build the release binaries: target/release/roadstead and target/release/loadgen
	cargo build --release --locked --package roadstead-engine --package loadgen

test: toolchain ## run every test, end to end with the real SDKs and a browser; ONLY="rules cargo tuning e2e conform hostile" chooses
	@tests/run.py $(ONLY)

check: toolchain ## formatting, clippy without warnings, the import rules
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	@tools/check/imports.py

conform: toolchain ## run the whole Autobahn suite against the server and against the client of loadgen, on each back end; flags in ARGS="..."
	cargo build --release --locked --package roadstead-engine --package loadgen
	@ROADSTEAD_BINARY=$(abspath $(TARGET))/release/roadstead ROADSTEAD_LOADGEN=$(abspath $(TARGET))/release/loadgen tests/conform/conform.py $(ARGS)

bench: toolchain ## measure against the kernel's floor; flags for the bench in ARGS="..."
	cargo build --release --locked
	$(TARGET)/release/bench $(ARGS)

million: toolchain ## hold a million connections on this machine and say what they cost beside a bare loop; flags in ARGS="..." (needs root, seven minutes)
	cargo build --release --locked
	$(TARGET)/release/million $(ARGS)

comeback: toolchain ## cut off 100,000 clients at once and say what their return costs; flags in ARGS="..." (needs root, eight minutes)
	cargo build --release --locked
	$(TARGET)/release/comeback $(ARGS)

hostile: toolchain ## let 2,000 attackers at a server that 1,000 good clients use, and say what these notice; flags in ARGS="..." (needs root, three minutes)
	cargo build --release --locked
	$(TARGET)/release/hostile $(ARGS)

fuzz: toolchain ## run each fuzz target for SECONDS_PER_TARGET seconds (60)
	@tools/fuzz $(SECONDS_PER_TARGET)

sim: toolchain ## simulate fleets under SEEDS fresh seeds (1000), for SIM_SECONDS at most (600); a failure says how to replay it
	@ROADSTEAD_SEEDS=$(SEEDS) ROADSTEAD_SECONDS=$(SIM_SECONDS) cargo test --locked --package roadstead-sim --test fleet fresh_seeds -- --nocapture

toolchain:
	@command -v cargo >/dev/null || { echo 'cargo is missing: install the Rust toolchain; rust-version in Cargo.toml says which' >&2; exit 1; }
	@command -v cc >/dev/null || { echo 'cc is missing: Rust links with a C compiler; install gcc or clang' >&2; exit 1; }
