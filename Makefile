# The two commands of the README. Each installs what the machine lacks, builds, and runs.

SWIFT ?= swift

.PHONY: demo test build lint format dependencies

demo: build
	$(SWIFT) run -c release --skip-build minference demo $(ARGUMENTS)

test: dependencies
	@sh .ci/install-nvrtc .build/nvrtc
	MINFERENCE_CUDA_LIBRARIES="$${MINFERENCE_CUDA_LIBRARIES:-$$(echo .build/nvrtc/nvidia/*/lib)}" \
	  $(SWIFT) test -c release $(ARGUMENTS)

build: dependencies
	$(SWIFT) build -c release

lint:
	$(SWIFT) format lint --strict --recursive Sources Tests Package.swift

format:
	$(SWIFT) format --in-place --recursive Sources Tests Package.swift

# OpenBLAS is opened at run time, so a build without it is complete; it only runs slower.
dependencies:
	@sh .ci/install-dependencies
