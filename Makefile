# Two commands: `make run` for a working agent on a bare machine, `make test`
# for the proof. `make deps` is the only installer; both call it.

# Outside the clone, so that a fresh clone finds what the last one built.
export CARGO_TARGET_DIR ?= $(HOME)/.cache/are/target

CARGO := cargo
BUILT := $(CARGO_TARGET_DIR)/release/are
DEPS  := sh scripts/deps.sh
# How long each fuzz target runs.
FUZZ_SECONDS := $(if $(ARE_TEST_LONG),600,5)
# What tests could not show on this machine, where that is allowed.
SKIPPED := $(CARGO_TARGET_DIR)/skipped.txt

.PHONY: run test check build deps binary layout

# Installs what is missing, builds, fetches the model, serves examples/hello.
run:
	@$(DEPS) run
	@$(MAKE) --no-print-directory binary
	@./are model pull small
	@ARE_WORKSPACE='$(CURDIR)/examples/hello' ./are start --local-llm

# Everything that can be checked, from a bare machine.
test: deps check

deps:
	@$(DEPS) test
	@$(MAKE) --no-print-directory binary
	@./are model pull tests
	@./are model pull small

# Format, lints, licences, fuzz targets, tests, in the order of their cost; nextest's summary comes last,
# but for what could not be shown on this machine.
# `cargo deny` runs without its advisories check, which needs a database from the network.
check:
	$(CARGO) fmt --all --check
	$(CARGO) deny --workspace check licenses bans sources
	$(CARGO) clippy --release --workspace --all-targets -- -D warnings
	sh scripts/fuzz.sh $(FUZZ_SECONDS)
	@rm -f '$(SKIPPED)'
	ARE_TEST_SKIPPED='$(SKIPPED)' $(CARGO) nextest run --release --workspace
	@if [ -s '$(SKIPPED)' ]; then cat '$(SKIPPED)'; fi

# Fetched first and for all targets: the JavaScript engine's source is a dependency for another one, which `cargo build`
# alone does not fetch.
build:
	$(CARGO) fetch --locked
	$(CARGO) build --release -p are

# `./are` without symbols, replaced in one step so that a running one is not disturbed.
binary: build
	@strip -o are.new '$(BUILT)' 2>/dev/null || cp '$(BUILT)' are.new
	@mv -f are.new are

# Which functions lie beside each other in the program; when that is to be written anew is said in scripts/layout.sh.
layout: build
	@$(DEPS) layout
	$(CARGO) build --release --workspace --bin zero_delay_provider
	sh scripts/layout.sh '$(CARGO_TARGET_DIR)/release'
	@$(MAKE) --no-print-directory build
