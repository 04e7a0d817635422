# Offshoot. `make help` lists the targets; docs/building.md explains them.
#
#   make                 build/offshoot-proxy, build/offshoot-agent, build/offshootctl
#   make SAN=address,undefined check      the same under sanitizers, in build/san-address,undefined
#   make CC=clang        another compiler
.DEFAULT_GOAL := all
MAKEFLAGS += --no-builtin-rules
# V=1 shows every command; else one short line says what is made.
V ?=
Q := $(if $(V),,@)
say = $(if $(V),,@printf '  %-4s %s\n' $(1) $@)
.DELETE_ON_ERROR:
comma := ,

SAN ?=
COV ?=
DEBUG ?=
FUZZ ?=
CC := $(if $(filter default,$(origin CC)),gcc,$(CC))
CXX := $(if $(filter default,$(origin CXX)),g++,$(CXX))
B ?= build$(if $(SAN),/san-$(SAN))$(if $(COV),/cov)
PYTHON := /usr/bin/python3
PREFIX ?= /usr/local
DESTDIR ?=
FUZZ_SECONDS ?= 60
# Which fuzz targets `make fuzz` runs, and what tests/run is told besides.
ONLY ?=
TESTFLAGS ?=

VERSION := 0.1.0

PKGS := libevent_core libevent_extra libevent_pthreads libevent_openssl libnghttp2 libcrypto libssl \
        libprotobuf-c hiredis yaml-0.1 jansson libcares libxxhash zlib libcurl
PKG_CFLAGS := $(shell pkg-config --cflags $(PKGS) 2>/dev/null)

# The flags of $(1) that the compiler knows, so that one Makefile serves every machine.
known = $(foreach f,$(1),$(shell $(CC) -Werror $(f) -E -x c /dev/null >/dev/null 2>&1 && echo $(f)))

# Instrumented code makes gcc warn of truncation and the like where there is none: there, warnings
# are only told. The plain build of the same sources has them as errors.
WARN := $(if $(SAN)$(COV)$(DEBUG),,-Werror) -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wformat=2 \
        -fno-common -Wpointer-arith -Wwrite-strings -Wundef -Wold-style-definition
HARDEN := -fstack-protector-strong -fPIE $(call known,-fcf-protection -fstack-clash-protection) \
        $(if $(SAN),,-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2)
OPT := $(if $(SAN)$(DEBUG)$(COV),-O1,-O2) -g -fno-omit-frame-pointer
SANFLAGS := $(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=all)
COVFLAGS := $(if $(COV),--coverage -fprofile-update=atomic)
CFLAGS_ALL = -std=c17 -D_GNU_SOURCE -DOFFSHOOT_VERSION='"$(VERSION)"' $(WARN) $(HARDEN) $(OPT) \
        $(SANFLAGS) $(if $(FUZZ),-fsanitize=fuzzer-no-link) $(COVFLAGS) -I. -I$(B) $(PKG_CFLAGS) \
        $(CFLAGS)
LDFLAGS_ALL = -pie -Wl,-z,relro,-z,now,-z,noexecstack -Wl,--as-needed $(SANFLAGS) $(COVFLAGS) $(LDFLAGS)

# ---- what is built of what -------------------------------------------------------------------
PROTO := $(wildcard proto/offshoot/v1/*.proto)
GEN_C := $(PROTO:%.proto=$(B)/%.pb-c.c)
GEN_H := $(PROTO:%.proto=$(B)/%.pb-c.h)
# What server reflection tells: all of it, that of the services which lib/net serves by itself too.
REFLECTED := $(strip $(PROTO) $(wildcard proto/grpc/*/*/*.proto))

LIB_SRC := $(wildcard lib/base/*.c lib/graph/*.c lib/compare/*.c lib/wire/*.c lib/net/*.c)
PROXY_SRC := $(wildcard proxy/*.c)
AGENT_SRC := $(wildcard agent/*.c)
CTL_SRC := $(wildcard ctl/*.c)

obj = $(patsubst %.c,$(B)/obj/%.o,$(1))
LIB_OBJ := $(call obj,$(LIB_SRC)) $(patsubst $(B)/%.c,$(B)/obj/gen/%.o,$(GEN_C)) \
        $(if $(REFLECTED),$(B)/obj/gen/proto/descriptors.o)
LIBS := $(shell pkg-config --libs $(PKGS) 2>/dev/null) -lm -lpthread

PROGRAMS := $(if $(wildcard proxy/main.c),$(B)/offshoot-proxy) \
        $(if $(wildcard agent/main.c),$(B)/offshoot-agent) \
        $(if $(wildcard ctl/main.c),$(B)/offshootctl)

.PHONY: all help
all: $(PROGRAMS) ## the three programs, in $(B)/ (the default target)

help: ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/\1 \2/p' Makefile | sed 's|$$(B)|$(B)|' | \
	        while read -r target text; do printf '  %-10s %s\n' "$$target" "$$text"; done
	@echo "variables: CC=clang SAN=address,undefined|thread COV=1 DEBUG=1 V=1 B=folder CFLAGS= LDFLAGS="

# Two stamps that change only with their text: every object depends on how it is compiled, every
# archive on the list of its members (a source that was deleted must leave it).
quote = '$(subst ','\'',$(1))'
stamp = @mkdir -p $(@D); printf '%s\n' $(call quote,$(1)) | cmp -s - $@ || \
        printf '%s\n' $(call quote,$(1)) >$@
.PHONY: FORCE
$(B)/flags: FORCE
	$(call stamp,$(CC) $(CFLAGS_ALL) | $(LDFLAGS_ALL) $(LIBS))
$(B)/sources: FORCE
	$(call stamp,$(LIB_SRC) $(REFLECTED) $(PROXY_SRC) $(AGENT_SRC) $(CTL_SRC))

# A program is its main.c and the rest of its folder; the rest is an archive that tests link too.
rest = $(call obj,$(filter-out %/main.c,$(1)))
$(B)/liboffshoot.a: $(LIB_OBJ)
$(B)/libproxy.a: $(call rest,$(PROXY_SRC))
$(B)/libagent.a: $(call rest,$(AGENT_SRC))
$(B)/libctl.a: $(call rest,$(CTL_SRC))
$(B)/liboffshoot.a $(B)/libproxy.a $(B)/libagent.a $(B)/libctl.a: $(B)/sources
	@mkdir -p $(@D)
	$(call say,AR)
	$(Q)rm -f $@
	$(Q)$(AR) rcs $@ $(filter %.o,$^)

$(B)/offshoot-proxy: $(call obj,proxy/main.c) $(B)/libproxy.a $(B)/liboffshoot.a
$(B)/offshoot-agent: $(call obj,agent/main.c) $(B)/libagent.a $(B)/liboffshoot.a
$(B)/offshootctl: $(call obj,ctl/main.c) $(B)/libctl.a $(B)/liboffshoot.a
$(B)/offshoot-proxy $(B)/offshoot-agent $(B)/offshootctl:
	$(call say,LINK)
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS)

# ---- compiling -------------------------------------------------------------------------------
$(B)/obj/%.o: %.c $(B)/flags | $(GEN_H)
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(CFLAGS_ALL) -MMD -MP -c -o $@ $<
$(B)/obj/gen/%.o: $(B)/%.c $(B)/flags
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(CFLAGS_ALL) -MMD -MP -c -o $@ $<
$(B)/%.pb-c.c $(B)/%.pb-c.h: %.proto
	@mkdir -p $(B)
	$(call say,GEN)
	$(Q)protoc-c --c_out=$(B) -I. $<
$(B)/proto/descriptors.set: $(REFLECTED) $(B)/sources
	@mkdir -p $(@D)
	$(call say,GEN)
	$(Q)protoc -Iproto --include_imports --descriptor_set_out=$@ $(REFLECTED:proto/%=%)
$(B)/proto/descriptors.c: $(B)/proto/descriptors.set
	@mkdir -p $(@D)
	$(call say,GEN)
	$(Q){ printf '#include "lib/net/grpc_impl.h"\nstatic const char bytes[] =\n'; \
	        od -An -v -tx1 $< | sed 's/ /\\x/g; s/.*/"&"/'; \
	        printf ';\nconst struct str grpc_descriptors = {bytes, sizeof(bytes) - 1};\n'; } >$@
.SECONDARY: $(GEN_C) $(GEN_H) $(B)/proto/descriptors.set $(B)/proto/descriptors.c
-include $(shell [ -d $(B)/obj ] && find $(B)/obj -name '*.d')

# ---- unit and loop tests, micro-benchmarks: one program a file ---------------------------------
UNIT_SRC := $(wildcard tests/unit/*.c tests/unit/*/*.c)
LOOP_SRC := $(wildcard tests/loop/test_*.c)
LOOP_REST := $(filter-out $(LOOP_SRC),$(wildcard tests/loop/*.c))
BENCH_SRC := $(wildcard bench/*.c)
# Programs that tests/blackbox starts besides the real ones.
BLACKBOX_SRC := $(wildcard tests/blackbox/*.c)
BLACKBOX_BIN := $(patsubst %.c,$(B)/%,$(BLACKBOX_SRC))
# Peers in C++, by the library of gRPC: only where it and a compiler for it are. Not instrumented,
# as the library is not.
PEER_SRC := $(wildcard tests/blackbox/*.cc)
PEER_HERE := $(shell command -v $(firstword $(CXX)) >/dev/null && pkg-config --exists grpc++ && echo yes)
PEER_BIN := $(if $(PEER_HERE),$(patsubst %.cc,$(B)/%,$(PEER_SRC)))
PEER_FLAGS = -std=c++17 -O1 -g $(filter -Werror -Wall -Wextra -Wshadow,$(WARN)) \
        $(shell pkg-config --cflags grpc++ zlib)
UNIT_BIN := $(patsubst %.c,$(B)/%,$(UNIT_SRC))
LOOP_BIN := $(patsubst %.c,$(B)/%,$(LOOP_SRC))
BENCH_BIN := $(patsubst %.c,$(B)/%,$(BENCH_SRC))
# A test below tests/unit/proxy (agent, ctl) links that program's archive too.
of = $(filter $(B)/tests/unit/$(1)/%,$(UNIT_BIN))
$(call of,proxy) $(LOOP_BIN): $(B)/libproxy.a
$(call of,agent): $(B)/libagent.a
$(call of,ctl): $(B)/libctl.a
$(LOOP_BIN): $(call obj,$(LOOP_REST))
$(BENCH_BIN): $(if $(PROXY_SRC),$(B)/libproxy.a)
$(B)/bench/commit_bench $(B)/bench/compare_bench: $(B)/libagent.a
link_test = $(CC) $(LDFLAGS_ALL) -o $@ $(filter %.o,$^) $(filter-out %/liboffshoot.a,$(filter %.a,$^)) \
        $(B)/liboffshoot.a $(LIBS)
$(UNIT_BIN) $(LOOP_BIN): $(B)/tests/%: $(B)/obj/tests/%.o $(B)/liboffshoot.a
	@mkdir -p $(@D)
	$(call say,LINK)
	$(Q)$(link_test) -lcmocka
$(BLACKBOX_BIN) $(BENCH_BIN): $(B)/%: $(B)/obj/%.o $(B)/liboffshoot.a
	@mkdir -p $(@D)
	$(call say,LINK)
	$(Q)$(link_test)
$(B)/peer-flags: FORCE
	$(call stamp,$(CXX) $(PEER_FLAGS))
$(PEER_BIN): $(B)/%: %.cc $(B)/peer-flags
	@mkdir -p $(@D)
	$(call say,CXX)
	$(Q)$(CXX) $(PEER_FLAGS) -o $@ $< $(shell pkg-config --libs grpc++ zlib) -lpthread
.PHONY: tests unit loop
tests: $(UNIT_BIN) $(LOOP_BIN) $(BLACKBOX_BIN) $(PEER_BIN) ## every test program, without running it
unit: $(UNIT_BIN)
	@set -e; for t in $(UNIT_BIN); do $$t; done
loop: $(LOOP_BIN)
	@set -e; for t in $(LOOP_BIN); do $$t; done

# ---- fuzz targets: libFuzzer with clang (make fuzz), plain replay programs else ----------------
FUZZ_SRC := $(wildcard tests/fuzz/fuzz_*.c)
FUZZ_REPLAY := $(patsubst tests/fuzz/%.c,$(B)/tests/fuzz/%,$(FUZZ_SRC))
FUZZ_MAIN := $(if $(FUZZ),,$(B)/obj/tests/fuzz/replay.o)
tests: $(FUZZ_REPLAY)
$(addprefix $(B)/tests/fuzz/fuzz_,control handover logwhen affinity capture_rules): $(B)/libproxy.a
$(addprefix $(B)/tests/fuzz/fuzz_,history capture journal): $(B)/libagent.a
$(FUZZ_REPLAY): $(B)/tests/fuzz/%: $(B)/obj/tests/fuzz/%.o $(FUZZ_MAIN) $(B)/liboffshoot.a
	@mkdir -p $(@D)
	$(call say,LINK)
	$(Q)$(link_test) $(if $(FUZZ),-fsanitize=fuzzer)

.PHONY: fuzz fuzz-run
fuzz: ## libFuzzer with ASan and UBSan, FUZZ_SECONDS=60 a target; ONLY=name for one
	$(MAKE) CC=clang SAN=address,undefined COV= FUZZ=1 B=$(B)/fuzz fuzz-run
fuzz-run: $(FUZZ_REPLAY)
	FUZZ_SECONDS=$(FUZZ_SECONDS) tests/fuzz/run $(B) $(ONLY)

# ---- checks ----------------------------------------------------------------------------------
export OFFSHOOT_BUILD = $(abspath $(B))
export OFFSHOOT_CC = $(CC)

.PHONY: deps check lint format coverage demo demo-up bench compdb
deps: ## installs the Debian packages that are missing (apt-get); nothing to do, nothing done
	@.deps/install
check: all tests ## builds and runs every test; TESTFLAGS="--only PATTERN" for some
	$(PYTHON) -B tests/run --build $(B) $(TESTFLAGS)
lint: $(GEN_H) ## every rule of tests/lint; ONLY="rule rule" for some
	$(PYTHON) -B tests/lint/run $(ONLY)
format: ## clang-format in place
	clang-format -i $$(git ls-files -co --exclude-standard '*.c' '*.cc' '*.h')
coverage: $(if $(COV),check) ## runs the tests in a build of its own and says what lines they reach
	$(if $(COV),$(PYTHON) -B tests/coverage.py $(B),$(MAKE) COV=1 coverage)
demo: all ## a small stack in six environments, shown and taken down again
	$(PYTHON) demo/demo.py run
demo-up: all ## the same, left running until interrupted
	$(PYTHON) demo/demo.py up
bench: all $(BENCH_BIN) ## the benchmarks, next to the peers that are installed
	$(PYTHON) bench/run.py
compdb: $(GEN_H) ## compile_commands.json for editors
	$(PYTHON) -B tests/lint/compdb.py >$(B)/compile_commands.json
# What a script needs to know: `make -s print-CFLAGS_ALL`.
print-%:
	@printf '%s\n' $(call quote,$($*))

# ---- installing ------------------------------------------------------------------------------
# Pairs source:destination below PREFIX; uninstall removes what install would put there.
MAN := $(wildcard docs/man/*.[1-8])
COMPLETION := $(wildcard ctl/completion/*)
DOCS := $(wildcard README.md ARCHITECTURE.md) $(shell find docs -name '*.md' 2>/dev/null)
CONF := $(shell find conf -type f 2>/dev/null)
INSTALLED := $(PROGRAMS:$(B)/%=bin/%) \
        $(foreach m,$(MAN),share/man/man$(subst .,,$(suffix $(m)))/$(notdir $(m))) \
        $(COMPLETION:ctl/completion/%=share/bash-completion/completions/%) \
        $(DOCS:%=share/doc/offshoot/%) $(CONF:conf/%=share/doc/offshoot/examples/%)
SOURCES := $(PROGRAMS) $(MAN) $(COMPLETION) $(DOCS) $(CONF)
.PHONY: install uninstall clean
install: all ## to DESTDIR/PREFIX (/usr/local): programs, man pages, completion, docs, examples
	@set -e; set -- $(INSTALLED); for f in $(SOURCES); do \
	        case $$f in $(B)/*) mode=755;; *) mode=644;; esac; \
	        install -D -m $$mode "$$f" "$(DESTDIR)$(PREFIX)/$$1"; shift; done
	@echo installed $(words $(INSTALLED)) files in $(DESTDIR)$(PREFIX)
uninstall: ## removes what install put there
	@rm -f $(INSTALLED:%=$(DESTDIR)$(PREFIX)/%)
	@if [ -d $(DESTDIR)$(PREFIX)/share/doc/offshoot ]; then \
	        find $(DESTDIR)$(PREFIX)/share/doc/offshoot -type d -empty -delete; fi
clean: ## removes $(B)
	rm -rf $(B)
