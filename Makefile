# Offshoot. `make help` lists the targets; docs/building.md explains them.
#
#   make                 build/offshoot-proxy, build/offshoot-agent, build/offshootctl
#   make SAN=address,undefined check      the same under sanitizers, in build/san-address,undefined
#   make CC=clang        another compiler
.DEFAULT_GOAL := all
MAKEFLAGS += --no-builtin-rules
comma := ,

SAN ?=
COV ?=
DEBUG ?=
CC := $(if $(filter default,$(origin CC)),gcc,$(CC))
B ?= build$(if $(SAN),/san-$(SAN))$(if $(COV),/cov)

VERSION := 0.1.0

PKGS := libevent_core libevent_extra libevent_pthreads libnghttp2 libcrypto libssl libprotobuf-c \
        hiredis yaml-0.1 jansson libcares libxxhash zlib libcurl
PKG_CFLAGS := $(shell pkg-config --cflags $(PKGS) 2>/dev/null)

WARN := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wformat=2 \
        -fno-common -Wpointer-arith -Wwrite-strings -Wundef -Wold-style-definition
HARDEN := -fstack-protector-strong -fPIE -fcf-protection $(if $(SAN),,-D_FORTIFY_SOURCE=2)
OPT := $(if $(SAN)$(DEBUG)$(COV),-O1,-O2) -g -fno-omit-frame-pointer
SANFLAGS := $(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=all)
COVFLAGS := $(if $(COV),--coverage)
CFLAGS_ALL = -std=c17 -D_GNU_SOURCE -DOFFSHOOT_VERSION='"$(VERSION)"' $(WARN) $(HARDEN) $(OPT) \
        $(SANFLAGS) $(COVFLAGS) -I. -I$(B) $(PKG_CFLAGS) $(CFLAGS)
LDFLAGS_ALL = -pie -Wl,-z,relro,-z,now,-z,noexecstack -Wl,--as-needed $(SANFLAGS) $(COVFLAGS) $(LDFLAGS)

# ---- what is built of what -------------------------------------------------------------------
PROTO := $(wildcard proto/offshoot/v1/*.proto)
GEN_C := $(PROTO:%.proto=$(B)/%.pb-c.c)
GEN_H := $(PROTO:%.proto=$(B)/%.pb-c.h)

LIB_SRC := $(wildcard lib/base/*.c lib/graph/*.c lib/compare/*.c lib/wire/*.c lib/net/*.c)
PROXY_SRC := $(wildcard proxy/*.c)
AGENT_SRC := $(wildcard agent/*.c)
CTL_SRC := $(wildcard ctl/*.c)

obj = $(patsubst %.c,$(B)/obj/%.o,$(1))
LIB_OBJ := $(call obj,$(LIB_SRC)) $(patsubst $(B)/%.c,$(B)/obj/gen/%.o,$(GEN_C))
LIBS := $(shell pkg-config --libs $(PKGS) 2>/dev/null) -lm -lpthread

PROGRAMS := $(if $(PROXY_SRC),$(B)/offshoot-proxy) $(if $(AGENT_SRC),$(B)/offshoot-agent) \
        $(if $(CTL_SRC),$(B)/offshootctl)

.PHONY: all help
all: $(PROGRAMS)

$(B)/liboffshoot.a: $(LIB_OBJ)
	@mkdir -p $(@D)
	@rm -f $@
	$(AR) rcs $@ $^

# A program is its main.c and the rest of its folder; the rest is an archive that tests link too.
$(B)/libproxy.a: $(call obj,$(filter-out proxy/main.c,$(PROXY_SRC)))
	@mkdir -p $(@D)
	@rm -f $@
	$(AR) rcs $@ $^
$(B)/offshoot-proxy: $(call obj,proxy/main.c) $(B)/libproxy.a $(B)/liboffshoot.a
	$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS)
$(B)/offshoot-agent: $(call obj,$(AGENT_SRC)) $(B)/liboffshoot.a
	$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS)
$(B)/offshootctl: $(call obj,$(CTL_SRC)) $(B)/liboffshoot.a
	$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS)

# ---- compiling -------------------------------------------------------------------------------
$(B)/obj/%.o: %.c $(GEN_H)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) -MMD -MP -c -o $@ $<
$(B)/obj/gen/%.o: $(B)/%.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) -MMD -MP -c -o $@ $<
$(B)/%.pb-c.c $(B)/%.pb-c.h: %.proto
	@mkdir -p $(B)
	protoc-c --c_out=$(B) -I. $<
.SECONDARY: $(GEN_C) $(GEN_H)
-include $(shell [ -d $(B)/obj ] && find $(B)/obj -name '*.d')

# ---- unit and loop tests: one program a file --------------------------------------------------
UNIT_SRC := $(wildcard tests/unit/*.c tests/unit/*/*.c)
LOOP_SRC := $(wildcard tests/loop/*.c)
UNIT_BIN := $(patsubst %.c,$(B)/%,$(UNIT_SRC))
LOOP_BIN := $(patsubst %.c,$(B)/%,$(LOOP_SRC))
$(UNIT_BIN): $(B)/tests/unit/%: $(B)/obj/tests/unit/%.o $(B)/liboffshoot.a
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS) -lcmocka
$(LOOP_BIN): $(B)/tests/loop/%: $(B)/obj/tests/loop/%.o $(B)/libproxy.a $(B)/liboffshoot.a
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS) -lcmocka
.PHONY: tests unit loop
tests: $(UNIT_BIN) $(LOOP_BIN)
unit: $(UNIT_BIN)
	@set -e; for t in $(UNIT_BIN); do $$t; done
loop: $(LOOP_BIN)
	@set -e; for t in $(LOOP_BIN); do $$t; done

# ---- fuzz targets: libFuzzer with clang (make fuzz), plain replay programs else ----------------
FUZZ_SRC := $(wildcard tests/fuzz/fuzz_*.c)
FUZZ_REPLAY := $(patsubst tests/fuzz/%.c,$(B)/tests/fuzz/%,$(FUZZ_SRC))
$(FUZZ_REPLAY): $(B)/tests/fuzz/%: $(B)/obj/tests/fuzz/%.o $(B)/obj/tests/fuzz/replay.o $(B)/liboffshoot.a
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS)

clean:
	rm -rf $(B)
.PHONY: clean
