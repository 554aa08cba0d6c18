# The commands of the README. Each installs what the machine lacks, builds, and runs.

SWIFT ?= swift

# Where `make install` puts the command, its manual, its completions and the model of the demo.
PREFIX ?= /usr/local
DESTDIR ?=
SHARE = $(DESTDIR)$(PREFIX)/share

.PHONY: demo test build lint format dependencies commit install uninstall

demo: build
	$(SWIFT) run -c release --skip-build minference demo $(ARGUMENTS)

test: dependencies
	@sh .ci/install-nvrtc .build/nvrtc
	MINFERENCE_CUDA_LIBRARIES="$${MINFERENCE_CUDA_LIBRARIES:-$$(echo .build/nvrtc/nvidia/*/lib)}" \
	  $(SWIFT) test -c release --disable-testable-imports $(ARGUMENTS)

build: dependencies commit
	$(SWIFT) build -c release

# The installed command needs nothing of the toolchain.
install: dependencies commit
	@echo "compiling the command with Swift's library inside: minutes, and again at the next build without it" >&2
	$(SWIFT) build -c release --static-swift-stdlib --product minference
	@sh .ci/install-command "$$($(SWIFT) build -c release --static-swift-stdlib --show-bin-path)/minference" \
	  "$(DESTDIR)$(PREFIX)"

uninstall:
	rm -f "$(DESTDIR)$(PREFIX)/bin/minference" "$(SHARE)/man/man1/minference.1" \
	  "$(SHARE)/bash-completion/completions/minference" "$(SHARE)/zsh/site-functions/_minference" \
	  "$(SHARE)/fish/vendor_completions.d/minference.fish"
	rm -rf "$(SHARE)/minference"

# What `minference version` says was built.
commit:
	@sh .ci/write-commit

lint:
	$(SWIFT) format lint --strict --recursive Sources Tests Package.swift
	@sh .ci/check-imports

format:
	$(SWIFT) format --in-place --recursive Sources Tests Package.swift

# OpenBLAS is opened at run time, so a build without it is complete; it only runs slower.
dependencies:
	@sh .ci/install-dependencies
