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
ROOMS := base event flow trace store bus pipeline plugin guard isolate batch operate run doctor http flowtest cli
USES_event := base
USES_flow := event
USES_trace := event
USES_store := flow
USES_bus := store
USES_pipeline := flow
USES_plugin := pipeline
USES_guard := event
USES_isolate := plugin guard
USES_batch := isolate bus trace
USES_operate := batch
USES_run := batch
USES_doctor := run
USES_http := run operate
USES_flowtest := http
USES_cli := flowtest doctor

PKGS_ALL := libpq yaml-0.1 jansson libmicrohttpd rdkafka libcurl

CFLAGS_BASE := -std=gnu17 -O2 -g -fPIC -fno-omit-frame-pointer -fstack-protector-strong -pthread -ffile-prefix-map=$(CURDIR)=. \
  -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wformat=2 -Wundef -Wvla \
  -Wwrite-strings -Wno-missing-field-initializers $(if $(DEV),-Werror) \
  $(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=all,-D_FORTIFY_SOURCE=2)
CPPFLAGS_BASE := -D_GNU_SOURCE -DSLUICE_VERSION='"$(VERSION)"' \
  -Iengine -Iengine/include $(shell pkg-config --cflags $(PKGS_ALL) 2>/dev/null)
LDFLAGS_BASE := -pthread -Wl,-z,relro,-z,now $(if $(SAN),-fsanitize=$(SAN))
LIBS_ENGINE = $(shell pkg-config --libs $(PKGS_ALL)) -ldl -lm

MAIN_OBJECT := $(B)obj/engine/main.o
LIB = $(B)lib/lib$(1).a
ARCHIVES := $(foreach room,$(ROOMS),$(call LIB,$(room)))
PLUGIN_NAMES := $(sort $(notdir $(patsubst %/,%,$(dir $(wildcard plugins/*/*.c)))))
PLUGINS := $(PLUGIN_NAMES:%=$(B)plugins/%.so)
PLUGIN_SQL := $(patsubst %/,$(B)%,$(dir $(wildcard plugins/*/sql/.)))
-include $(wildcard plugins/*/*.mk)

all: $(B)sluice $(PLUGINS) $(PLUGIN_SQL) $(B)sluice.pc ## build build/sluice and build/plugins/*.so (the default)

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

# The page of /ui is one file, put together from engine/http/ui/.
build/ui/ui.html: $(wildcard engine/http/ui/*)
	@mkdir -p $(@D)
	$(call run,UI) engine/http/ui/assemble $@ build/ui/policy

# The engine's migrations are one file, too: of each its name, its length and its bytes.
build/sql/engine: $(wildcard sql/engine/*.sql)
	@mkdir -p $(@D)
	$(call run,SQL) for f in $^; do echo "$$(basename $$f) $$(wc -c <$$f)" && cat $$f; done >$@

# Embedded with .incbin, which -MMD does not see.
$(B)obj/engine/store/migrate/files.o: build/sql/engine
$(B)obj/engine/http/ui.o: build/ui/ui.html
$(B)obj/engine/cli/new_plugin.o: $(wildcard plugins/template/* plugins/template_store/* plugins/template_store/sql/* tests/plugins/fake_*.[ch] tests/plugins/test_template*.c \
  engine/include/rust/Cargo.toml engine/include/rust/src/*)
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

$(B)sluice: $(MAIN_OBJECT) $(ARCHIVES)
	$(call run,LD) $(CC) $(LDFLAGS_BASE) $(LDFLAGS) -o $@ $(MAIN_OBJECT) -Wl,--start-group $(ARCHIVES) -Wl,--end-group $(LIBS_ENGINE)

# Its SQL is found beside the library.
$(B)plugins/%/sql: plugins/%/sql
	@mkdir -p $(@D)
	@ln -sfnr $< $@

define plugin_rule
$(B)plugins/$(1).so: $(patsubst %.c,$(B)obj/%.o,$(wildcard plugins/$(1)/*.c))
	@mkdir -p $$(@D)
	$$(call run,LD) $(CC) -shared -Wl,-z,defs $(LDFLAGS_BASE) $(LDFLAGS) -o $$@ $$^ $$(LIBS_$(1))
endef
$(foreach name,$(PLUGIN_NAMES),$(eval $(call plugin_rule,$(name))))

# For plugins that are built before this is installed: PKG_CONFIG_PATH=build.
$(B)sluice.pc: config/package/sluice.pc Makefile
	sed 's|^prefix=.*|prefix=$(CURDIR)|; s|/include$$|/engine/include|; s|/lib/sluice/plugins$$|/$(B)plugins|; s|@VERSION@|$(VERSION)|' $< >$@

SHARE = $(DESTDIR)$(PREFIX)/share
ZSH_COMPLETIONS ?= zsh/site-functions
install: all ## into DESTDIR and PREFIX
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib/sluice/plugins $(DESTDIR)$(PREFIX)/lib/systemd/system \
	  $(DESTDIR)$(PREFIX)/include/sluice $(SHARE)/sluice/config/services $(SHARE)/sluice/config/tests/pipelines \
	  $(SHARE)/sluice/rust/src $(SHARE)/sluice/prometheus $(SHARE)/sluice/grafana $(SHARE)/pkgconfig $(SHARE)/man/man1 $(SHARE)/man/man5 \
	  $(SHARE)/bash-completion/completions $(SHARE)/fish/vendor_completions.d $(SHARE)/$(ZSH_COMPLETIONS)
	install -m 755 $(B)sluice $(DESTDIR)$(PREFIX)/bin/
	install -m 644 $(PLUGINS) $(DESTDIR)$(PREFIX)/lib/sluice/plugins/
	for sql in $(PLUGIN_SQL:$(B)plugins/%=%); do install -d $(DESTDIR)$(PREFIX)/lib/sluice/plugins/$$sql && \
	  install -m 644 plugins/$$sql/*.sql $(DESTDIR)$(PREFIX)/lib/sluice/plugins/$$sql/ || exit 1; done
	install -m 644 engine/include/sluice/plugin.h engine/include/sluice/plugin.hpp $(DESTDIR)$(PREFIX)/include/sluice/
	install -m 644 engine/include/rust/Cargo.toml $(SHARE)/sluice/rust/
	install -m 644 engine/include/rust/src/*.rs $(SHARE)/sluice/rust/src/
	install -m 644 config/*.yaml $(SHARE)/sluice/config/
	install -m 644 config/services/*.yaml $(SHARE)/sluice/config/services/
	install -m 644 config/tests/*.yaml $(SHARE)/sluice/config/tests/
	install -m 644 config/tests/pipelines/*.yaml $(SHARE)/sluice/config/tests/pipelines/
	install -m 644 config/prometheus/*.yaml $(SHARE)/sluice/prometheus/
	install -m 644 config/grafana/*.json $(SHARE)/sluice/grafana/
	install -m 644 docs/man/sluice.1 $(SHARE)/man/man1/
	install -m 644 docs/man/pipeline.yaml.5 $(SHARE)/man/man5/
	install -m 644 config/completion/sluice.bash $(SHARE)/bash-completion/completions/sluice
	sed 's|@SHARE@|$(PREFIX)/share|' config/completion/sluice.fish >$(SHARE)/fish/vendor_completions.d/sluice.fish
	sed 's|@SHARE@|$(PREFIX)/share|' config/completion/sluice.zsh >$(SHARE)/$(ZSH_COMPLETIONS)/_sluice
	sed 's|@VERSION@|$(VERSION)|' config/package/sluice.pc >$(SHARE)/pkgconfig/sluice.pc
	sed 's|/usr/bin/|$(PREFIX)/bin/|' config/systemd/sluice@.service >$(DESTDIR)$(PREFIX)/lib/systemd/system/sluice@.service

uninstall: ## what install put there; folders that others use stay
	rm -f $(DESTDIR)$(PREFIX)/bin/sluice $(DESTDIR)$(PREFIX)/lib/systemd/system/sluice@.service $(SHARE)/pkgconfig/sluice.pc \
	  $(SHARE)/man/man1/sluice.1 $(SHARE)/man/man5/pipeline.yaml.5 $(SHARE)/bash-completion/completions/sluice \
	  $(SHARE)/fish/vendor_completions.d/sluice.fish $(SHARE)/$(ZSH_COMPLETIONS)/_sluice \
	  $(PLUGIN_NAMES:%=$(DESTDIR)$(PREFIX)/lib/sluice/plugins/%.so)
	rm -rf $(SHARE)/sluice $(DESTDIR)$(PREFIX)/include/sluice \
	  $(PLUGIN_SQL:$(B)plugins/%/sql=$(DESTDIR)$(PREFIX)/lib/sluice/plugins/%)
	-rmdir $(DESTDIR)$(PREFIX)/lib/sluice/plugins $(DESTDIR)$(PREFIX)/lib/sluice 2>/dev/null || true

DEB_VERSION ?= $(VERSION)-1
deb: all ## build/sluice_VERSION_ARCH.deb, for the distribution that this runs on
	MAKE="$(MAKE)" config/package/deb $(B) $(DEB_VERSION)

clean: ## end the servers in var/, remove build/ and var/
	rm -rf build var

.PHONY: all help install uninstall deb clean
-include $(shell find $(B)obj -name '*.d' 2>/dev/null)
include tests/tests.mk
