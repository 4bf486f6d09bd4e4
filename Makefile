# Sluice: one non-recursive Makefile. `make help` lists what it does.
#
#   SAN=address,undefined | thread   build that flavour in build/SAN (make SAN=thread unit)
#   DEV=1                            warnings are errors (what CI builds)
#   T=name                           run only the tests whose name contains it
#
# A new file in engine/*/, a new folder in plugins/ or a new test is found by wildcard: nobody edits a list.

SAN    ?=
DEV    ?=
T      ?=
PREFIX ?= /usr/local
DESTDIR ?=
CC     ?= cc
MODE   := $(if $(SAN),$(subst $(comma),-,$(SAN)),release)
comma  := ,
B      := build/$(if $(SAN),$(subst $(comma),-,$(SAN))/,)

VERSION := 0.1.0
# The layers, lowest first. A folder may include only folders to its left; tests/check/layers holds us to it, and so does
# the linker: a unit test of a layer is linked with that layer and those below it, nothing else.
LAYERS := base event store bus pipeline plugin flow run http cli

PKGS_store := libpq
PKGS_pipeline := libyaml-0.1 jansson
PKGS_plugin := jansson
PKGS_http := libmicrohttpd
PKGS_bus :=
PKGS_ALL := libpq yaml-0.1 jansson libmicrohttpd

CFLAGS_BASE := -std=gnu17 -O2 -g -fPIC -fno-omit-frame-pointer -fstack-protector-strong -pthread \
  -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wformat=2 -Wundef -Wvla \
  -Wwrite-strings -Wno-missing-field-initializers $(if $(DEV),-Werror) \
  $(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=all,-D_FORTIFY_SOURCE=2)
CPPFLAGS_BASE := -D_GNU_SOURCE -DSLUICE_VERSION='"$(VERSION)"' -DSLUICE_PREFIX='"$(PREFIX)"' \
  -Iengine -Iengine/include $(shell pkg-config --cflags $(PKGS_ALL) 2>/dev/null)
LDFLAGS_BASE := -pthread -Wl,-z,relro,-z,now $(if $(SAN),-fsanitize=$(SAN))
LIBS_ENGINE = $(shell pkg-config --libs $(PKGS_ALL)) -ldl -lm

ENGINE_SOURCES := $(wildcard engine/*/*.c)
MAIN_OBJECT := $(B)obj/engine/main.o
LIB = $(B)lib/lib$(1).a
ARCHIVES := $(foreach layer,$(LAYERS),$(call LIB,$(layer)))
PLUGIN_NAMES := $(sort $(notdir $(patsubst %/,%,$(dir $(wildcard plugins/*/*.c)))))
PLUGINS := $(PLUGIN_NAMES:%=$(B)plugins/%.so)
UNIT_SOURCES := $(wildcard tests/unit/*/test_*.c)
UNIT_TESTS := $(UNIT_SOURCES:tests/unit/%.c=$(B)tests/unit/%)
-include $(wildcard plugins/*/*.mk)

all: $(B)sluice $(PLUGINS) ## build build/sluice and build/plugins/*.so (the default)

help: ## this list
	@sed -n 's/^\([a-zA-Z_-]*\):[^#]*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20
	@sed -n '3,5s/^# \{0,1\}//p' Makefile

# ---------------------------------------------------------------- how things are built
# The flags are a file: when they change, everything is built again.
FLAGS_NOW := $(CC) $(CFLAGS_BASE) $(CFLAGS) $(CPPFLAGS_BASE) $(CPPFLAGS) $(LDFLAGS_BASE) $(LDFLAGS)
$(shell mkdir -p $(B); echo '$(subst ','\'',$(FLAGS_NOW))' | cmp -s - $(B)flags || echo '$(subst ','\'',$(FLAGS_NOW))' > $(B)flags)

$(B)obj/%.o: %.c $(B)flags
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS_BASE) $(CPPFLAGS) $(CFLAGS_BASE) $(CFLAGS) -MMD -MP -c $< -o $@

define layer_rule
$(call LIB,$(1)): $(patsubst %.c,$(B)obj/%.o,$(wildcard engine/$(1)/*.c))
	@mkdir -p $$(@D)
	@rm -f $$@
	ar rcs $$@ $$^
endef
$(foreach layer,$(LAYERS),$(eval $(call layer_rule,$(layer))))

# What a layer may use: itself and everything to its left.
upto = $(if $(filter $(1),$(firstword $(2))),$(firstword $(2)),$(firstword $(2)) $(call upto,$(1),$(wordlist 2,99,$(2))))
archives_upto = $(foreach layer,$(call upto,$(1),$(LAYERS)),$(call LIB,$(layer)))

$(B)sluice: $(MAIN_OBJECT) $(ARCHIVES)
	$(CC) $(LDFLAGS_BASE) $(LDFLAGS) -o $@ $(MAIN_OBJECT) -Wl,--start-group $(ARCHIVES) -Wl,--end-group $(LIBS_ENGINE)

define plugin_rule
$(B)plugins/$(1).so: $(patsubst %.c,$(B)obj/%.o,$(wildcard plugins/$(1)/*.c))
	@mkdir -p $$(@D)
	$(CC) -shared -Wl,-z,defs $(LDFLAGS_BASE) $(LDFLAGS) -o $$@ $$^ $$(LIBS_$(1))
endef
$(foreach name,$(PLUGIN_NAMES),$(eval $(call plugin_rule,$(name))))

# ---------------------------------------------------------------------------------------------------------- tests
.SECONDEXPANSION:
$(B)tests/unit/%: tests/unit/%.c $(B)flags $$(call archives_upto,$$(firstword $$(subst /, ,$$*)))
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS_BASE) $(CPPFLAGS) $(CFLAGS_BASE) $(CFLAGS) -MMD -MP $< -o $@ $(LDFLAGS_BASE) $(LDFLAGS) \
	  -Wl,--start-group $(call archives_upto,$(firstword $(subst /, ,$*))) -Wl,--end-group -lcmocka $(LIBS_ENGINE)

unit: $(UNIT_TESTS) ## build and run the unit tests (no service needed)
	tests/run unit $(T)

test: all $(UNIT_TESTS) test-programs ## everything: unit, plugins, pipeline, config_bad, integration (T=name: only those)
	B=$(B) tests/run all $(T)

demo: all ## real purchases through HTTP on a private PostgreSQL in ./var
	tests/demo/demo

deps: ## install what is missing from the distribution's packages
	tests/deps

clean: ## remove build/ and var/
	@[ ! -x tests/lib/private_postgres ] || tests/lib/private_postgres stop var/postgres >/dev/null 2>&1 || true
	rm -rf build var

.PHONY: all help unit test demo deps clean
-include $(shell find $(B)obj $(B)tests -name '*.d' 2>/dev/null)
