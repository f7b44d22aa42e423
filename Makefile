# SPDX-License-Identifier: Apache-2.0
# The front door. Each of demo, check and bench installs what it needs from Debian's packages (root),
# builds, and runs.
#
#   make demo                     two virtual machines talk through XVIO: watch it
#   make check                    all tests;  check-unit check-virtio check-system check-fuzz: a part
#   make demo-ovs                 Open vSwitch drives XVIO: watch it
#   make check-ovs                Open vSwitch's own test suite on XVIO
#   make bench                    XVIO beside testpmd and OVS-DPDK;  CASES="wire-split l2"  QUICK=1
#   make                          just build
#
# Variants: CC=clang; SAN=1 (address and undefined behaviour sanitizers: unit, virtio, fuzz);
# SAN=thread (those unit tests that have threads); FULL=1 (all variants of every test, an hour and more);
# OVS=1 (Open vSwitch's tests too, where openvswitch-source is not installed yet); FUZZ_SECONDS=60.

CC ?= gcc
ifeq ($(origin CC),default)
CC := gcc
endif
SAN ?=
FUZZ_SECONDS ?= 60

BUILD := build
ifneq ($(CC)$(SAN),gcc)
# vswitchd's tests are those of the plain build.
OPTIONS := -Dvswitchd=disabled
endif
ifneq ($(CC),gcc)
BUILD := build-$(CC)
endif
ifeq ($(SAN),1)
BUILD := $(BUILD)-san
OPTIONS += -Db_sanitize=address,undefined -Db_lundef=false -Dbuildtype=debugoptimized
else ifeq ($(SAN),thread)
# DPDK's locks and rings must be made of compiler atomics, or the sanitizer does not understand them.
CC := clang
BUILD := build-thread
OPTIONS += -Db_sanitize=thread -Db_lundef=false -Dbuildtype=debugoptimized \
	'-Dc_args=-DRTE_FORCE_INTRINSICS -DRTE_USE_C11_MEM_MODEL'
else ifneq ($(SAN),)
$(error SAN=$(SAN): 1 (address and undefined behaviour) or thread)
endif

export XVIO_BUILD := $(CURDIR)/$(BUILD)
export FULL FUZZ_SECONDS SAN

all: build

build: $(BUILD)/build.ninja
	@ninja -C $(BUILD)

$(BUILD)/build.ninja:
	@tools/setup build
	@CC=$(CC) meson setup $(BUILD) $(OPTIONS)

demo: build
	@tools/setup demo
	@tools/demo

# ovs-vswitchd with XVIO as its datapath, from Debian's source: some minutes the first time.
build-ovs:
	@tools/setup build ovs
	@[ -f $(BUILD)/build.ninja ] || CC=$(CC) meson setup $(BUILD) $(OPTIONS)
	@grep -q vswitchd/xvio-vswitchd $(BUILD)/build.ninja || meson configure $(BUILD) -Dvswitchd=enabled
	@ninja -C $(BUILD)

demo-ovs: build-ovs
	@tools/setup demo
	@tools/demo-ovs

# What guests boot, and whatever else only tests need; those of Open vSwitch run where its source is, from which the build makes
# ovs-vswitchd with XVIO. OVS=1 installs it: two to three minutes more.
test-setup:
	@tools/setup test $(if $(wildcard /usr/src/openvswitch/openvswitch.tar.gz),ovs)
	@tools/guest-image

# What needs no compiler is fetched and unpacked while one runs.
check:
	@tools/setup build $(if $(OVS),ovs)
	@$(MAKE) --no-print-directory -j2 build$(if $(OVS),-ovs) test-setup
	@tools/check unit virtio system fuzz ovs

# Open vSwitch's own test suite with XVIO as its datapath; TESTS="1 5 50-60" for some of it.
check-ovs: build-ovs
	@tools/check-ovs $(TESTS)

check-unit check-virtio check-system check-fuzz: check-%: build test-setup
	@tools/check $*

bench: build
	@tools/setup bench
	@bench/run.py

install: build
	@meson install -C $(BUILD) --no-rebuild

clean:
	@rm -rf build build-*

.PHONY: all build build-ovs demo demo-ovs test-setup check check-ovs check-unit check-virtio check-system check-fuzz bench install clean
