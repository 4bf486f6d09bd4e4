# Sluice: one non-recursive Makefile. `make help` lists what it does.
#
#   SAN=address,undefined | thread   build that flavour in build/SAN (make SAN=thread unit)
#   DEV=1                            warnings are errors (what CI builds)
#   T=name                           run only the tests whose name contains it
#   V=1                              show whole commands while building
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
# The rooms of engine/, and what each may use beside itself and what those use. tests/check/layers holds includes to it, and
# the linker calls: a unit test of a room is linked with that room and what it uses, nothing else.
ROOMS := base event store bus pipeline plugin flow run http cli
USES_event := base
USES_store := event
USES_bus := store
USES_pipeline := event
USES_plugin := pipeline
USES_flow := pipeline
USES_run := flow plugin bus
USES_http := run
USES_cli := http

PKGS_store := libpq
PKGS_pipeline := libyaml-0.1 jansson
PKGS_plugin := jansson
PKGS_http := libmicrohttpd
PKGS_bus := rdkafka
PKGS_ALL := libpq yaml-0.1 jansson libmicrohttpd rdkafka

CFLAGS_BASE := -std=gnu17 -O2 -g -fPIC -fno-omit-frame-pointer -fstack-protector-strong -pthread \
  -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wformat=2 -Wundef -Wvla \
  -Wwrite-strings -Wno-missing-field-initializers $(if $(DEV),-Werror) \
  $(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=all,-D_FORTIFY_SOURCE=2)
CPPFLAGS_BASE := -D_GNU_SOURCE -DSLUICE_VERSION='"$(VERSION)"' -DSLUICE_PREFIX='"$(PREFIX)"' \
  -Iengine -Iengine/include -Itests/lib/c $(shell pkg-config --cflags $(PKGS_ALL) 2>/dev/null)
LDFLAGS_BASE := -pthread -Wl,-z,relro,-z,now $(if $(SAN),-fsanitize=$(SAN))
LIBS_ENGINE = $(TSAN_THREADS) $(shell pkg-config --libs $(PKGS_ALL)) -ldl -lm
TSAN_THREADS := $(if $(filter thread,$(SAN)),$(B)obj/tests/check/tsan_threads.o)

MAIN_OBJECT := $(B)obj/engine/main.o
LIB = $(B)lib/lib$(1).a
ARCHIVES := $(foreach room,$(ROOMS),$(call LIB,$(room)))
PLUGIN_NAMES := $(sort $(notdir $(patsubst %/,%,$(dir $(wildcard plugins/*/*.c)))))
PLUGINS := $(PLUGIN_NAMES:%=$(B)plugins/%.so)
UNIT_SOURCES := $(wildcard tests/unit/*/test_*.c)
UNIT_TESTS := $(UNIT_SOURCES:tests/unit/%.c=$(B)tests/unit/%)
-include $(wildcard plugins/*/*.mk)

all: $(B)sluice $(PLUGINS) ## build build/sluice and build/plugins/*.so (the default)

help: ## this list
	@sed -n 's/^\([a-zA-Z_-]*\):[^#]*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20
	@sed -n '3,6s/^# \{0,1\}//p' Makefile

# ---------------------------------------------------------------- how things are built
run = $(if $(V),,@printf '%-5s %s\n' $(1) '$@';)
# The flags are a file: when they change, everything is built again.
FLAGS_NOW := $(CC) $(CFLAGS_BASE) $(CFLAGS) $(CPPFLAGS_BASE) $(CPPFLAGS) $(LDFLAGS_BASE) $(LDFLAGS)
$(shell mkdir -p $(B); echo '$(subst ','\'',$(FLAGS_NOW))' | cmp -s - $(B)flags || echo '$(subst ','\'',$(FLAGS_NOW))' > $(B)flags)

$(B)obj/%.o: %.c $(B)flags
	@mkdir -p $(@D)
	$(call run,CC) $(CC) $(CPPFLAGS_BASE) $(CPPFLAGS) $(CFLAGS_BASE) $(CFLAGS) -MMD -MP -c $< -o $@

# Embedded with .incbin, which -MMD does not see.
$(B)obj/engine/cli/new_plugin.o: $(wildcard plugins/template/* tests/plugins/fake_*.[ch]) tests/plugins/test_template.c
# A plugin of several files exports one function all the same.
$(B)obj/plugins/%.o: CFLAGS += -fvisibility=hidden

# A room's folders: itself and those inside it.
sources = $(wildcard engine/$(1)/*.c engine/$(1)/*/*.c)
define room_rule
$(call LIB,$(1)): $(patsubst %.c,$(B)obj/%.o,$(call sources,$(1)))
	@mkdir -p $$(@D)
	@rm -f $$@
	$$(call run,AR) ar rcs $$@ $$^
endef
$(foreach room,$(ROOMS),$(eval $(call room_rule,$(room))))

# A room and all that it uses, and their archives.
closure = $(sort $(1) $(foreach used,$(USES_$(1)),$(call closure,$(used))))
archives = $(foreach room,$(call closure,$(1)),$(call LIB,$(room)))

$(B)sluice: $(MAIN_OBJECT) $(ARCHIVES) $(TSAN_THREADS)
	$(call run,LD) $(CC) $(LDFLAGS_BASE) $(LDFLAGS) -o $@ $(MAIN_OBJECT) -Wl,--start-group $(ARCHIVES) -Wl,--end-group $(LIBS_ENGINE)

define plugin_rule
$(B)plugins/$(1).so: $(patsubst %.c,$(B)obj/%.o,$(wildcard plugins/$(1)/*.c))
	@mkdir -p $$(@D)
	$$(call run,LD) $(CC) -shared -Wl,-z,defs $(LDFLAGS_BASE) $(LDFLAGS) -o $$@ $$^ $$(LIBS_$(1))
endef
$(foreach name,$(PLUGIN_NAMES),$(eval $(call plugin_rule,$(name))))

# ---------------------------------------------------------------------------------------------------------- tests
.SECONDEXPANSION:
$(B)tests/unit/%: tests/unit/%.c $(B)flags $(TSAN_THREADS) $$(call archives,$$(firstword $$(subst /, ,$$*)))
	@mkdir -p $(@D)
	$(call run,LD) $(CC) $(CPPFLAGS_BASE) $(CPPFLAGS) $(CFLAGS_BASE) $(CFLAGS) -MMD -MP $< -o $@ $(LDFLAGS_BASE) $(LDFLAGS) \
	  -Wl,--start-group $(call archives,$(firstword $(subst /, ,$*))) -Wl,--end-group -lcmocka $(LIBS_ENGINE)

# Plugins' own tests run the .so against a fake host; programs in C that tests/process drives.
FAKE_HOST := $(patsubst %.c,$(B)obj/%.o,$(wildcard tests/plugins/fake_*.c))
PLUGIN_TEST_SOURCES := $(wildcard tests/plugins/test_*.c)
PLUGIN_TESTS := $(PLUGIN_TEST_SOURCES:tests/plugins/%.c=$(B)tests/plugins/%)
$(B)tests/plugins/test_%: $(B)obj/tests/plugins/test_%.o $(FAKE_HOST) $(PLUGINS)
	@mkdir -p $(@D)
	$(call run,LD) $(CC) $(LDFLAGS_BASE) $(LDFLAGS) -o $@ $< $(FAKE_HOST) -lcmocka $(LIBS_ENGINE)

# tests/plugins/NAME/NAME.c: plugins that misbehave on purpose, for the tests of the engine.
TEST_PLUGIN_NAMES := $(filter-out rust bad,$(sort $(notdir $(patsubst %/,%,$(dir $(wildcard tests/plugins/*/*.c))))))
TEST_PLUGINS := $(TEST_PLUGIN_NAMES:%=$(B)tests/plugins/%.so)
$(B)tests/plugins/%.so: $$(patsubst $$(percent).c,$(B)obj/$$(percent).o,$$(wildcard tests/plugins/$$*/*.c))
	@mkdir -p $(@D)
	$(call run,LD) $(CC) -shared -Wl,-z,defs $(LDFLAGS_BASE) $(LDFLAGS) -o $@ $^
percent := %

PROGRAMS := $(patsubst tests/%.c,$(B)tests/%,$(wildcard tests/process/*.c tests/bench/*.c))
$(PROGRAMS): $(B)tests/%: $(B)obj/tests/%.o $(ARCHIVES) $(TSAN_THREADS)
	@mkdir -p $(@D)
	$(call run,LD) $(CC) $(LDFLAGS_BASE) $(LDFLAGS) -o $@ $< -Wl,--start-group $(ARCHIVES) -Wl,--end-group $(LIBS_ENGINE) -lcmocka

$(B)tests/sim/sim: $(patsubst %.c,$(B)obj/%.o,$(wildcard tests/sim/*.c)) $(ARCHIVES)
	@mkdir -p $(@D)
	$(call run,LD) $(CC) $(LDFLAGS_BASE) $(LDFLAGS) -o $@ $(filter %.o,$^) -Wl,--start-group $(ARCHIVES) -Wl,--end-group $(LIBS_ENGINE)

test-programs: $(B)tests/sim/sim $(UNIT_TESTS) $(PLUGIN_TESTS) $(TEST_PLUGINS) $(PROGRAMS)

unit: $(UNIT_TESTS) ## build and run the unit tests (no service needed)
	B=$(B) tests/run unit $(T)

# Everything that a bare machine lacks is installed first; then make looks again at what there is.
test: ## everything but faults: unit, plugins, pipeline, sim, process, chaos, planted (T=name: only programs whose path holds it)
	@tests/deps
	@$(MAKE) --no-print-directory -j2 all test-programs
	B=$(B) tests/run all $(T)

faults: ## brokers, networks and databases that die, freeze and lie while events flow (T=name: only programs whose path holds it)
	@tests/deps
	@$(MAKE) --no-print-directory -j2 all test-programs
	TEST_LIMIT_S=900 B=$(B) tests/run faults $(T)

demo: ## real purchases through HTTP on a private PostgreSQL in ./var (BUS=kafka: and a private Kafka; SERVICES=1: as three services)
	@tests/deps $(if $(filter kafka,$(BUS))$(SERVICES),,--embedded)
	@$(MAKE) --no-print-directory -j2 all
	tests/demo/demo $(if $(SERVICES),services,$(BUS))

check: all ## the rules of the house, static analysers, and the tests under the sanitizers
	@tests/deps --tools
	TEST_LIMIT_S=1500 B=$(B) tests/run check $(T)

sim: $(B)tests/sim/sim ## the seeded simulation of flow/ (SEED=1 EVENTS=5000 a run, RUNS=1000 seeds from SEED on)
	$(B)tests/sim/sim $(or $(SEED),1) $(or $(EVENTS),5000) $(or $(RUNS),1000)

bench: all $(PROGRAMS) $(TEST_PLUGINS) ## purchases a second against the floor, latency, memory, start (BUS=kafka, ROUNDS=3, PARTS=latency)
	tests/bench/bench

# Fuzz targets are built whole, with clang's libFuzzer; what they find is kept in build/fuzz/NAME.
FUZZ_NAMES := $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
build/fuzz/fuzz_%: tests/fuzz/fuzz_%.c tests/fuzz/fuzz.h $(wildcard engine/base/*.[ch] engine/event/*.[ch] engine/pipeline/*.[ch] engine/http/*.[ch])
	@mkdir -p $(@D)
	clang -std=gnu17 -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all $(CPPFLAGS_BASE) $< \
	  $(foreach room,base event pipeline,$(call sources,$(room))) $(wildcard engine/http/route.c engine/http/head.c engine/http/refusal.c) -ljansson -lyaml -lm -pthread -o $@

fuzz: $(FUZZ_NAMES:%=build/fuzz/fuzz_%) ## run each fuzz target (T=json: only that one; SECONDS=60 each)
	@set -e; for name in $(FUZZ_NAMES); do case $$name in *$(T)*) ;; *) continue;; esac; \
	  mkdir -p build/fuzz/$$name tests/fuzz/corpus/$$name; dict=tests/fuzz/$$name.dict; \
	  build/fuzz/fuzz_$$name -max_total_time=$(or $(SECONDS),60) -max_len=4096 -print_final_stats=1 -artifact_prefix=build/fuzz/$$name- \
	    $$([ -e $$dict ] && echo -dict=$$dict) build/fuzz/$$name tests/fuzz/corpus/$$name 2>&1 | tail -n 12; done

install: all ## into DESTDIR and PREFIX
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib/sluice/plugins $(DESTDIR)$(PREFIX)/include/sluice \
	  $(DESTDIR)$(PREFIX)/share/sluice/config/services $(DESTDIR)$(PREFIX)/share/man/man1 \
	  $(DESTDIR)$(PREFIX)/share/bash-completion/completions
	install -m 755 $(B)sluice $(DESTDIR)$(PREFIX)/bin/
	install -m 755 $(PLUGINS) $(DESTDIR)$(PREFIX)/lib/sluice/plugins/
	install -m 644 engine/include/sluice/plugin.h $(DESTDIR)$(PREFIX)/include/sluice/
	install -m 644 config/*.yaml $(DESTDIR)$(PREFIX)/share/sluice/config/
	install -m 644 config/services/*.yaml $(DESTDIR)$(PREFIX)/share/sluice/config/services/
	cp -R sql $(DESTDIR)$(PREFIX)/share/sluice/
	install -m 644 docs/man/sluice.1 $(DESTDIR)$(PREFIX)/share/man/man1/
	install -m 644 config/completion/sluice.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/sluice

deps: ## install what is missing from the distribution's packages
	tests/deps

clean: ## end the servers in var/, remove build/ and var/
	@for dir in $(wildcard var/*); do tests/lib/private_postgres stop $$dir; tests/lib/kafka_cluster stop $$dir; done >/dev/null 2>&1 || true
	rm -rf build var

.PHONY: all help unit test test-programs faults demo check sim fuzz bench install deps clean
-include $(shell find $(B)obj $(B)tests -name '*.d' 2>/dev/null)
