# The set-up is part of each target: on a fresh Debian, python3 (3.11 or newer) with venv, and make, are enough.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/
DEMO_SECONDS ?= 60

.DEFAULT_GOAL := help
.PHONY: help demo test test-all check fix bench soak sdk-matrix lock image image-operator image-all publish

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

# --no-deps: pip installs the lines of the lock and resolves nothing. Otherwise an old pip (23.0, Debian 12's) rejects the
# lock on the day that a dependency with an extra publishes a release. `pip check` finds a lock that lacks a package.
INSTALL = pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r

# $(call need,PROGRAM,ADVICE): end with the advice if the program is missing.
need = @command -v $(1) >/dev/null || { echo "make $@: $(1) is not installed. $(2)" >&2; exit 1; }

$(VENV)/.created:
	$(call need,$(PYTHON),Install Python 3.11 or newer with venv. On Debian 12 and newer: apt-get install python3-venv)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; name one: make PYTHON=python3.12 …" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { echo "This Python has no venv; on Debian: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.demo-ready: $(VENV)/.created requirements/demo.txt
	@echo "Installing what the demo needs into $(VENV): $$(grep -c == requirements/demo.txt) packages, 36 MB to download, 170 MB on disk."
	$(RUN)$(INSTALL) requirements/demo.txt
	@touch $@

$(VENV)/.ready: $(VENV)/.created requirements/dev.txt pyproject.toml
	@echo "Installing what tests and checks need into $(VENV): $$(grep -c == requirements/dev.txt) packages, 215 MB to download, 850 MB on disk."
	$(RUN)$(INSTALL) requirements/dev.txt
	$(RUN)pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	$(RUN)pip check --disable-pip-version-check
	@touch $@ $(VENV)/.demo-ready

# What pip installs for the broker to run, and nothing else: benchmarks measure the bare script in it.
$(VENV)-pip/.ready: requirements/runtime.txt
	$(PYTHON) -m venv $(VENV)-pip
	$(VENV)-pip/bin/$(INSTALL) requirements/runtime.txt
	@touch $@

# What the image contains: the same with botocore's data reduced. Benchmarks measure the broker in it.
$(VENV)-runtime/.ready: requirements/runtime.txt image/reduce_botocore.py
	$(PYTHON) -m venv --clear $(VENV)-runtime
	$(VENV)-runtime/bin/$(INSTALL) requirements/runtime.txt
	$(PYTHON) image/reduce_botocore.py $(VENV)-runtime/lib/python3.*/site-packages/botocore/data
	@touch $@

demo: $(VENV)/.demo-ready ## run it live on a local AWS simulator (DEMO_SECONDS=60)
	$(RUN)python -m broker demo --seconds $(DEMO_SECONDS)

# A worker that dies fails the run at once (pytest-xdist would wait for it forever); timeout ends whatever else hangs.
TEST_MINUTES ?= 40
PYTEST = timeout --kill-after=30 $(TEST_MINUTES)m $(RUN)pytest -n auto --dist loadgroup --max-worker-restart=0 --cov --cov-report=
# Pure modules must be covered completely. The main loop is not pure, and only mypy reads the file of its Protocols.
PURE = --include='broker/core/*,broker/publish/formats.py' --omit='broker/core/refresher.py,broker/core/collaborators.py'
has = command -v $(1) >/dev/null && echo yes || echo "no, so its tests say SKIPPED"

TIMEOUT = Install GNU coreutils, which contain it
test: $(VENV)/.ready ## every test that needs only Python: 6 to 12 minutes
	$(call need,timeout,$(TIMEOUT))
	@echo "All tests but those of the image and of the SDK matrix: about 8,200, in 6 to 12 minutes on two cores."
	@for tool in terraform kubectl promtool chromium; do echo "  $$tool: $$($(call has,$$tool))"; done
	$(PYTEST) --ignore=tests/image
	$(RUN)coverage report --fail-under=95
	$(RUN)coverage report --fail-under=100 $(PURE)

test-all: $(VENV)/.ready ## all tests, also of images (root) and SDKs: 20 minutes
	$(call need,timeout,$(TIMEOUT))
	@echo "All tests, those of the image included, then the SDK matrix: about 20 minutes on two cores."
	@for tool in terraform kubectl promtool chromium buildah podman runc; do echo "  $$tool: $$($(call has,$$tool))"; done
	$(PYTEST)
	$(RUN)coverage report --fail-under=95
	$(RUN)coverage report --fail-under=100 $(PURE)
	$(MAKE) sdk-matrix

check: $(VENV)/.ready ## format, lint, types, import layers, Dockerfile
	$(RUN)ruff format --check .
	$(RUN)ruff check .
	$(RUN)mypy
	$(RUN)lint-imports
	$(RUN)hadolint Dockerfile

fix: $(VENV)/.ready ## apply what the linters can fix
	$(RUN)ruff check --fix .
	$(RUN)ruff format .

bench: $(VENV)/.ready $(VENV)-runtime/.ready $(VENV)-pip/.ready ## measure the figures of docs/performance.md (root)
	$(RUN)python -m benchmarks

SOAK_SECONDS ?= 900
soak: $(VENV)/.ready $(VENV)-runtime/.ready ## check that resources stay flat (root; SOAK_SECONDS=900)
	$(RUN)python -m benchmarks.soak --seconds $(SOAK_SECONDS)

sdk-matrix: $(VENV)/.ready ## run real SDKs, and compare with docs/sdks.md
	$(RUN)python -m sdk_matrix --check docs/sdks.md

COMPILE = uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate --python-version 3.11
lock: ## renew the hash-pinned locks (needs uv)
	$(call need,uv,Install it: pip install uv)
	$(COMPILE) -o requirements/runtime.txt pyproject.toml
	$(COMPILE) -c requirements/runtime.txt --extra operator -o requirements/operator.txt pyproject.toml
	$(COMPILE) -c requirements/operator.txt --group build -o requirements/build.txt
	$(COMPILE) --group bench -o requirements/bench.txt
	$(COMPILE) -c requirements/operator.txt -c requirements/build.txt --extra operator --group build --group sandbox -o requirements/demo.txt pyproject.toml
	$(COMPILE) -c requirements/demo.txt --extra operator --group dev -o requirements/dev.txt pyproject.toml
	for in in sdk_matrix/locks/*.in; do $(COMPILE) $$(case $$in in */aws-cli.in|*/java-v2.in) echo --no-deps; esac) -o "$${in%.in}.txt" "$$in"; done

BUILDAH = Install it. On Debian and Ubuntu: apt-get install buildah; on Fedora: dnf install buildah
VERSION = $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' broker/__init__.py)
# The registry and path that the names of the images begin with: make image REGISTRY=registry.example/platform
REGISTRY ?=
PREFIX = $(addsuffix /,$(REGISTRY))
SIDECAR = --target sidecar $(1) $(PREFIX)sts-federation-broker:$(VERSION)
OPERATOR = --target operator $(1) $(PREFIX)sts-federation-broker-operator:$(VERSION)
# The same tree gives the same image.
BUILD = buildah bud --timestamp 1580601600 --build-arg VERSION=$(VERSION) --file Dockerfile
image: ## build the sidecar's image (needs buildah)
	$(call need,buildah,$(BUILDAH))
	$(BUILD) $(call SIDECAR,--tag) .

image-operator: ## build the image of the operator tools (needs buildah)
	$(call need,buildah,$(BUILDAH))
	$(BUILD) $(call OPERATOR,--tag) .

# A foreign platform is built under emulation, which the kernel starts through binfmt_misc.
PLATFORMS ?= linux/amd64,linux/arm64
image-all: ## build both images for amd64 and arm64 (buildah, QEMU)
	$(call need,buildah,$(BUILDAH))
	$(foreach image,$(IMAGES),buildah manifest rm $(image) 2>/dev/null || true;)
	$(BUILD) --platform $(PLATFORMS) $(call SIDECAR,--manifest) .
	$(BUILD) --platform $(PLATFORMS) $(call OPERATOR,--manifest) .

IMAGES = $(lastword $(call SIDECAR,)) $(lastword $(call OPERATOR,))
PINNED = ^ARG PYTHON_IMAGE=[^ ]*@sha256:[0-9a-f]\{64\}$$
publish: ## push what image-all built, and write down the digests
	$(call need,buildah,$(BUILDAH))
	@test -n "$(REGISTRY)" || { echo "make $@: REGISTRY is empty. Name your registry: make $@ REGISTRY=registry.example/platform" >&2; exit 1; }
	@grep -q '$(PINNED)' Dockerfile || { echo "make $@: PYTHON_IMAGE in the Dockerfile has no digest. Pin it: CONTRIBUTING.md, \"Base image\"" >&2; exit 1; }
	$(foreach image,$(IMAGES),buildah manifest push --all --digestfile $(firstword $(subst :, ,$(notdir $(image)))).digest $(image) docker://$(image) &&) true
