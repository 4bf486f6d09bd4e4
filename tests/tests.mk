# The tests' half of the Makefile, which includes it: how test programs are built, and what runs them.

percent := %
.SECONDEXPANSION:

# GCC's ThreadSanitizer does not know C11 threads, which librdkafka uses: a program of that flavour gets them as POSIX ones.
ifeq ($(SAN),thread)
TSAN_THREADS := $(B)obj/tests/check/tsan_threads.o
LIBS_ENGINE := $(TSAN_THREADS) $(LIBS_ENGINE)
endif

# A room and all that it uses, and their archives.
closure = $(sort $(1) $(foreach used,$(USES_$(1)),$(call closure,$(used))))
archives = $(foreach room,$(call closure,$(1)),$(call LIB,$(room)))

# batch/ is tested alone: fakes that stand before the archives replace the store, the clock and the log.
FAKES := $(patsubst %.c,$(B)obj/%.o,$(wildcard tests/lib/c/fake_*.c tests/unit/batch/lane_*.c))
$(FAKES): private CPPFLAGS_BASE += -Itests/lib/c
unit_fakes = $(if $(filter batch/%,$(1)),$(FAKES))
unit_archives = $(filter-out $(if $(filter batch/%,$(1)),$(call LIB,store)),$(call archives,$(firstword $(subst /, ,$(1)))))

UNIT_SOURCES := $(wildcard tests/unit/*/test_*.c)
UNIT_TESTS := $(UNIT_SOURCES:tests/unit/%.c=$(B)tests/unit/%)
$(B)tests/unit/%: tests/unit/%.c $(B)flags $$(call unit_fakes,$$*) $$(call unit_archives,$$*)
	@mkdir -p $(@D)
	$(call run,LD) $(CC) $(CPPFLAGS_BASE) -Itests/lib/c $(CPPFLAGS) $(CFLAGS_BASE) $(CFLAGS) -MMD -MP $< -o $@ $(LDFLAGS_BASE) $(LDFLAGS) \
	  $(call unit_fakes,$*) -Wl,--start-group $(call unit_archives,$*) -Wl,--end-group -lcmocka $(LIBS_ENGINE)

# Plugins' own tests run the .so against a fake host; programs in C that tests/process drives.
FAKE_HOST := $(patsubst %.c,$(B)obj/%.o,$(wildcard tests/plugins/fake_*.c))
PLUGIN_TEST_SOURCES := $(wildcard tests/plugins/test_*.c)
PLUGIN_TESTS := $(PLUGIN_TEST_SOURCES:tests/plugins/%.c=$(B)tests/plugins/%)
$(B)obj/tests/plugins/test_%.o $(B)obj/tests/process/%.o: private CPPFLAGS_BASE += -Itests/lib/c
$(B)tests/plugins/test_%: $(B)obj/tests/plugins/test_%.o $(FAKE_HOST) $(PLUGINS)
	@mkdir -p $(@D)
	$(call run,LD) $(CC) $(LDFLAGS_BASE) $(LDFLAGS) -o $@ $< $(FAKE_HOST) -lcmocka $(LIBS_ENGINE)

# tests/plugins/NAME/NAME.c: plugins that misbehave on purpose, for the tests of the engine.
TEST_PLUGIN_NAMES := $(filter-out bad go,$(sort $(notdir $(patsubst %/,%,$(dir $(wildcard tests/plugins/*/*.c))))))
TEST_PLUGINS := $(TEST_PLUGIN_NAMES:%=$(B)tests/plugins/%.so)
$(B)tests/plugins/%.so: $$(patsubst $$(percent).c,$(B)obj/$$(percent).o,$$(wildcard tests/plugins/$$*/*.c))
	@mkdir -p $(@D)
	$(call run,LD) $(CC) -shared -Wl,-z,defs $(LDFLAGS_BASE) $(LDFLAGS) -o $@ $^

# Preloaded into an engine whose clock a test moves.
MOVED_CLOCK := $(B)tests/lib/moved_clock.so
$(MOVED_CLOCK): $(B)obj/tests/lib/c/moved_clock.o
	@mkdir -p $(@D)
	$(call run,LD) $(CC) -shared $(LDFLAGS_BASE) $(LDFLAGS) -o $@ $^

PROGRAMS := $(patsubst tests/%.c,$(B)tests/%,$(wildcard tests/process/*.c tests/bench/*.c))
$(PROGRAMS): $(B)tests/%: $(B)obj/tests/%.o $(ARCHIVES)
	@mkdir -p $(@D)
	$(call run,LD) $(CC) $(LDFLAGS_BASE) $(LDFLAGS) -o $@ $< -Wl,--start-group $(ARCHIVES) -Wl,--end-group $(LIBS_ENGINE) -lcmocka

# The simulation stands in for store/, bus/, the clocks and the log: what it defines is not taken from the archives.
SIM_ARCHIVES := $(foreach room,$(filter-out store bus,$(call closure,batch)),$(call LIB,$(room)))
$(B)tests/sim/sim: $(B)obj/tests/sim/sim.o $(SIM_ARCHIVES)
	@mkdir -p $(@D)
	$(call run,LD) $(CC) $(LDFLAGS_BASE) $(LDFLAGS) -o $@ $< -Wl,--start-group $(SIM_ARCHIVES) -Wl,--end-group $(LIBS_ENGINE)

test-programs: $(B)tests/sim/sim $(UNIT_TESTS) $(PLUGIN_TESTS) $(TEST_PLUGINS) $(MOVED_CLOCK) $(PROGRAMS)
$(B)sluice $(B)tests/sim/sim $(UNIT_TESTS) $(PLUGIN_TESTS) $(PROGRAMS): | $(TSAN_THREADS)

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
	TEST_LIMIT_S=1800 B=$(B) tests/run faults $(T)

demo: ## real purchases through HTTP on a private PostgreSQL in ./var (BUS=kafka: and a private Kafka; SERVICES=1: as three services)
	@tests/deps $(if $(filter kafka,$(BUS))$(SERVICES),,--embedded)
	@$(MAKE) --no-print-directory -j2 all
	tests/demo/demo $(if $(SERVICES),services,$(BUS))

container: ## the image of config/package/Containerfile, built by buildah and run; minutes, and root
	@tests/deps --container
	tests/package/container

check: all ## the rules of the house, static analysers, and the tests under the sanitizers
	@tests/deps --tools
	TEST_LIMIT_S=3000 B=$(B) tests/run check $(T)

sim: $(B)tests/sim/sim ## the seeded simulation of batch/ and flow/ (SEED=1 EVENTS=5000 a run, RUNS=1000 seeds from SEED on)
	$(B)tests/sim/sim $(or $(SEED),1) $(or $(EVENTS),5000) $(or $(RUNS),1000)

bench: all $(PROGRAMS) $(TEST_PLUGINS) ## purchases a second against the floor, latency, memory, start (BUS=kafka, ROUNDS=3, PARTS=latency)
	tests/bench/bench

# Fuzz targets are built whole, with clang's libFuzzer; what they find is kept in build/fuzz/NAME.
FUZZ_NAMES := $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
build/fuzz/fuzz_%: tests/fuzz/fuzz_%.c tests/fuzz/fuzz.h $(wildcard engine/base/*.[ch] engine/event/*.[ch] engine/flow/*.[ch] engine/pipeline/*.[ch] engine/plugin/*.[ch] engine/http/*.[ch])
	@mkdir -p $(@D)
	clang -std=gnu17 -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all $(CPPFLAGS_BASE) $< \
	  $(foreach room,$(call closure,plugin),$(call sources,$(room))) $(wildcard engine/http/route.c engine/http/head.c engine/http/refusal.c) -ljansson -lyaml -lm -ldl -pthread -o $@

fuzz: $(FUZZ_NAMES:%=build/fuzz/fuzz_%) ## run each fuzz target (T=json: only that one; SECONDS=60 each)
	@set -e; for name in $(FUZZ_NAMES); do case $$name in *$(T)*) ;; *) continue;; esac; \
	  mkdir -p build/fuzz/$$name tests/fuzz/corpus/$$name; dict=tests/fuzz/$$name.dict; \
	  build/fuzz/fuzz_$$name -max_total_time=$(or $(SECONDS),60) -max_len=4096 -print_final_stats=1 -artifact_prefix=build/fuzz/$$name- \
	    $$([ -e $$dict ] && echo -dict=$$dict) build/fuzz/$$name tests/fuzz/corpus/$$name 2>&1 | tail -n 12; done

deps: ## install what is missing from the distribution's packages
	tests/deps

clean: end-servers
end-servers:
	@for dir in $(wildcard var/*); do tests/lib/private_postgres stop $$dir; tests/lib/kafka_cluster stop $$dir; done >/dev/null 2>&1 || true

.PHONY: unit test test-programs faults demo container check sim fuzz bench deps end-servers
-include $(shell find $(B)tests -name '*.d' 2>/dev/null)
