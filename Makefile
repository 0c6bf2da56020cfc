# Jointcap. `make help` lists the targets; docs are in README.md.
# Sources are found by folder: a new .c file needs no line here.

ifeq ($(origin CC),default)
CC      := gcc
endif
VARIANT ?= release
BUILD   := build/$(VARIANT)

PACKAGES := libevent hiredis libprotobuf-c jemalloc libcjson nettle zlib
# Everything a fresh Debian 12 needs to build, run, test and check (the one list; `make deps`).
APT := gcc clang pkg-config libevent-dev libhiredis-dev libprotobuf-c-dev protobuf-c-compiler \
       libjemalloc-dev libcjson-dev nettle-dev zlib1g-dev redis-server python3 tzdata
APT_LINT := clang-format cppcheck

WARN := -Wall -Wextra -Wpedantic -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla \
        -Wpointer-arith -Wwrite-strings -Wundef -Wformat=2 \
        -Wno-variadic-macros -Werror
# Release: one program seen as a whole, where the compiler is gcc with its ar (clang would also need
# lld): 5% less time per request. LTO= on the command line leaves it out. What gcc believes about
# uninitialised variables and sizes after inlining across files is no error.
IS_CLANG := $(findstring clang,$(shell $(CC) --version 2>/dev/null))
LTO      ?= $(if $(IS_CLANG),,$(if $(shell command -v gcc-ar),-flto=auto))
AR       := $(if $(LTO),gcc-ar,ar)
OPT_release := -O3 -g $(LTO) $(if $(LTO),-Wno-error=maybe-uninitialized -Wno-error=stringop-overflow)
OPT_debug   := -O0 -g3
OPT_asan    := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
OPT_tsan    := -O1 -g -fsanitize=thread -fno-omit-frame-pointer
OPT_fuzz    := -O1 -g -fsanitize=address,undefined,fuzzer-no-link -fno-sanitize-recover=all \
               -fno-omit-frame-pointer
ifeq ($(VARIANT),fuzz)
CC := clang
endif
# A sanitizer brings its own allocator.
LIBS_NAMES = $(if $(filter asan tsan fuzz,$(VARIANT)),$(filter-out jemalloc,$(PACKAGES)),$(PACKAGES))

# Counting bits is one instruction on every x86-64 server since 2008; else a call (target.c).
ARCH_x86_64 := -mpopcnt
ARCH        := $(ARCH_$(shell uname -m))
CFLAGS  = -std=gnu11 -D_GNU_SOURCE $(OPT_$(VARIANT)) $(WARN) $(ARCH) -MMD -MP -I. -I$(BUILD)/gen \
          -include bidder/base/poison.h -DJOINTCAP_VERSION='"$(VERSION)"' \
          $(filter-out -I/usr/include,$(shell pkg-config --cflags $(LIBS_NAMES) 2>/dev/null))
# The allocator is called by no name of its own: a linker that drops what seems unused would drop it.
LIBS    = $(patsubst -ljemalloc,-Wl$(comma)--push-state$(comma)--no-as-needed -ljemalloc -Wl$(comma)--pop-state,\
            $(shell pkg-config --libs $(LIBS_NAMES) 2>/dev/null)) -lpthread -lm
comma   := ,
VERSION := $(shell git describe --always --dirty 2>/dev/null || echo unknown)

PROTO_GEN := $(patsubst proto/%.proto,$(BUILD)/gen/proto/%.pb-c.c,$(wildcard proto/*.proto))
LIB_SRC   := $(filter-out bidder/main.c bidder/ctl.c,\
               $(wildcard bidder/base/*.c proto/*.c frequency/*.c pacing/*.c bidder/*.c))
LIB_OBJ   := $(LIB_SRC:%.c=$(BUILD)/%.o) $(PROTO_GEN:%.c=%.o)
PROGRAMS  := $(if $(wildcard bidder/main.c),$(BUILD)/jointcap) \
             $(if $(wildcard bidder/ctl.c),$(BUILD)/jointcapctl)
UNIT      := $(patsubst tests/unit/%.c,$(BUILD)/tests/%,$(wildcard tests/unit/test_*.c)) \
             $(patsubst tests/sim/%.c,$(BUILD)/tests/%,$(wildcard tests/sim/*.c))
FUZZ      := $(patsubst tests/fuzz/%.c,$(BUILD)/fuzz/%,$(wildcard tests/fuzz/fuzz_*.c))
MICRO     := $(patsubst bench/micro/%.c,$(BUILD)/bench/%,$(wildcard bench/micro/*.c))
LOAD      := $(if $(wildcard bench/load/*.c),$(BUILD)/jointcap-load)
FLOOR     := $(patsubst bench/floor/%.c,$(BUILD)/bench/%,$(wildcard bench/floor/*.c))
FILL      := $(patsubst bench/fill/%.c,$(BUILD)/bench/%,$(wildcard bench/fill/*.c))

.DEFAULT_GOAL := all
.PHONY: all debug asan tsan deps deps-lint build-all test test-unit test-integration fuzz-build \
        fuzz-replay fuzz-smoke lint format format-check layering install clean help run demo bench
.SECONDARY:
.DELETE_ON_ERROR:

all: deps ## Install what is missing and build the release programs
	+@$(MAKE) --no-print-directory build-all

build-all: $(PROGRAMS) $(LOAD)

debug asan tsan: deps ## Build with -O0, with ASan+UBSan, or with TSan, into build/<name>
	+@$(MAKE) --no-print-directory build-all VARIANT=$@

deps: ## Install the apt packages the project needs (root or sudo)
	@sh deploy/install-deps.sh $(APT)

deps-lint:
	@sh deploy/install-deps.sh $(APT) $(APT_LINT)

# --- building -------------------------------------------------------------------------------

$(BUILD)/libjointcap.a: $(LIB_OBJ)
	@rm -f $@ && $(AR) rcs $@ $^

$(BUILD)/jointcap: $(BUILD)/bidder/main.o $(BUILD)/libjointcap.a
	$(CC) $(CFLAGS) -o $@ $^ $(LIBS)

$(BUILD)/jointcapctl: $(BUILD)/bidder/ctl.o $(BUILD)/libjointcap.a
	$(CC) $(CFLAGS) -o $@ $^ $(LIBS)

$(BUILD)/jointcap-load: $(patsubst %.c,$(BUILD)/%.o,$(wildcard bench/load/*.c)) $(BUILD)/libjointcap.a
	$(CC) $(CFLAGS) -o $@ $^ $(LIBS)

$(BUILD)/tests/%: $(BUILD)/tests/unit/%.o $(BUILD)/libjointcap.a
	@mkdir -p $(@D)
	@$(CC) $(CFLAGS) -o $@ $^ $(LIBS)

$(BUILD)/tests/%: $(BUILD)/tests/sim/%.o $(BUILD)/libjointcap.a
	@mkdir -p $(@D)
	@$(CC) $(CFLAGS) -o $@ $^ $(LIBS)

# With VARIANT=fuzz a fuzz target is a libFuzzer binary; otherwise it replays files given to it.
FUZZ_MAIN = $(if $(filter fuzz,$(VARIANT)),-fsanitize=fuzzer,$(BUILD)/tests/fuzz/replay_main.o)
$(BUILD)/fuzz/%: $(BUILD)/tests/fuzz/%.o $(BUILD)/libjointcap.a \
                 $(if $(filter fuzz,$(VARIANT)),,$(BUILD)/tests/fuzz/replay_main.o)
	@mkdir -p $(@D)
	@$(CC) $(CFLAGS) -o $@ $(filter-out %replay_main.o,$^) $(FUZZ_MAIN) $(LIBS)

$(BUILD)/bench/%: $(BUILD)/bench/micro/%.o $(BUILD)/libjointcap.a
	@mkdir -p $(@D)
	@$(CC) $(CFLAGS) -o $@ $^ $(LIBS)

$(BUILD)/bench/%: $(BUILD)/bench/floor/%.o $(BUILD)/libjointcap.a
	@mkdir -p $(@D)
	@$(CC) $(CFLAGS) -o $@ $^ $(LIBS)

$(BUILD)/bench/%: $(BUILD)/bench/fill/%.o $(BUILD)/bench/load/template.o \
                  $(BUILD)/bench/load/json_walk.o $(BUILD)/libjointcap.a
	@mkdir -p $(@D)
	@$(CC) $(CFLAGS) -o $@ $^ $(LIBS)

$(BUILD)/gen/proto/%.pb-c.c $(BUILD)/gen/proto/%.pb-c.h: proto/%.proto
	@mkdir -p $(BUILD)/gen
	@protoc-c --c_out=$(BUILD)/gen $<

$(BUILD)/gen/%.o: $(BUILD)/gen/%.c
	@$(CC) $(CFLAGS) -w -c -o $@ $<

$(BUILD)/%.o: %.c | $(PROTO_GEN:.c=.h)
	@mkdir -p $(@D)
	@echo "  CC  $<"
	@$(CC) $(CFLAGS) -c -o $@ $<

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)

# --- testing --------------------------------------------------------------------------------

test: deps ## Install, build and run every test; ends with "N passed, N failed"
	+@$(MAKE) --no-print-directory build-all
	+@$(MAKE) --no-print-directory VARIANT=asan build-all unit-binaries fuzz-build
	@python3 tests/run.py all

unit-binaries: $(UNIT)
fuzz-build: $(FUZZ)

test-unit: deps ## Unit tests and simulations only, under ASan+UBSan
	+@$(MAKE) --no-print-directory VARIANT=asan unit-binaries
	@python3 tests/run.py unit

test-integration: deps ## Tests against real servers and processes only
	+@$(MAKE) --no-print-directory build-all
	+@$(MAKE) --no-print-directory VARIANT=asan build-all
	@python3 tests/run.py integration

fuzz-smoke: deps ## Each fuzz target for FUZZ_SECONDS (default 20) with libFuzzer
	+@$(MAKE) --no-print-directory VARIANT=fuzz fuzz-build
	@python3 tests/run.py fuzz --seconds $(or $(FUZZ_SECONDS),20)

# --- checking -------------------------------------------------------------------------------

SOURCES = $(shell git ls-files '*.c' '*.h')

# ctu: tests replace functions by fakes of the same name, which cppcheck then takes for one.
lint: deps-lint format-check layering ## Formatting, layering, cppcheck
	@cppcheck --quiet --enable=warning,portability,performance --inline-suppr --error-exitcode=1 \
	  --suppress=missingIncludeSystem --suppress=shiftTooManyBitsSigned \
	  --suppress=ctunullpointer --suppress=ctuuninitvar --suppress=ctuPointerArith --std=c11 -I. bidder proto frequency pacing bench tests

format: ## Format all C files in place
	@clang-format -i $(SOURCES)

format-check:
	@clang-format --dry-run -Werror $(SOURCES)

layering: ## Check that includes point down only
	@python3 tests/layering.py

# --- using ----------------------------------------------------------------------------------

run: all ## Start a private Redis and the bidder on 127.0.0.1:8080, show sample bids, stay up
	@python3 deploy/demo.py --stay

demo: all ## The same, then stop
	@python3 deploy/demo.py

PREFIX ?= /usr/local
install: all ## Install programs under PREFIX (default /usr/local), configs that are not there yet under /etc/jointcap
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)/etc/jointcap
	install -m 755 $(BUILD)/jointcap $(BUILD)/jointcapctl $(BUILD)/jointcap-load $(DESTDIR)$(PREFIX)/bin
	install -m 644 deploy/catalog.schema.json $(DESTDIR)/etc/jointcap
	@# What an engineer or a planner may have changed is kept.
	for file in catalog.json jointcap.conf redis.conf; do \
	  test -e $(DESTDIR)/etc/jointcap/$$file || install -m 644 deploy/$$file $(DESTDIR)/etc/jointcap; \
	done

clean: ## Remove everything built, and what make run has left
	rm -rf build run

help: ## This list
	@grep -hE '^[a-z][a-z -]*:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 26

# Longer checks and benches, each in the folder it belongs to.
-include tests/tests.mk bench/bench.mk
