# Builds, tests and installs interp.h. `make` alone lists what there is.
#   STB_DIR=DIR   where stb_image.h lies (else pkg-config stb, else /usr/include/stb)
#   BUILD=DIR     where programs go, for builds with other compilers or flags side by side

.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules
.DELETE_ON_ERROR:

BUILD        ?= build
OUT          ?= out
PREFIX       ?= /usr/local
CFLAGS       ?= -O2 -Wall -Wextra
LDLIBS       ?= -lm -pthread
HOSTCC       ?= cc
CLANG_FORMAT ?= clang-format
JOBS         ?= $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1)
FUZZ_SECONDS ?= 60
FUZZ_FLAGS   ?= -rss_limit_mb=1024 -malloc_limit_mb=512 -timeout=10

# Asked once, and only when something that may need stb is compiled.
STB_FLAGS     = $(eval STB_FLAGS := $(shell STB_DIR='$(STB_DIR)' tools/deps.sh --flags))$(STB_FLAGS)
COMPILE       = $(CC) $(CPPFLAGS) $(CFLAGS) -I. $(STB_FLAGS) -MMD -MP -MF $@.d -MT $@
# Jobs for the make inside `test`, `demo` ...: the caller's -j if there is one.
PARALLEL      = --no-print-directory $(if $(findstring jobserver,$(MAKEFLAGS)),,-j$(JOBS))

VERSION       = $(shell awk '/define INTERP_VERSION_(MAJOR|MINOR|PATCH)/ \
                { v = v s $$3; s = "." } END { print v }' src/base/base.h)

SOURCES      := $(wildcard src/*.c src/*.h src/*/*.c src/*/*.h)
TEST_SOURCES := $(wildcard tests/test_*.c)
# The longest first: the others fill what it leaves of the machine.
TESTS        := $(BUILD)/test_tool $(TEST_SOURCES:tests/%.c=$(BUILD)/%) \
                $(if $(filter tests/test_gradients.c,$(TEST_SOURCES)),$(BUILD)/test_gradients_double)
CONFORMANCE  ?= /usr/share/libonnx-testdata/data
FUZZERS      := $(patsubst tests/%.c,$(BUILD)/%,$(wildcard tests/fuzz_*.c))
EXAMPLES     := $(patsubst examples/%.c,$(BUILD)/examples/%,$(sort $(wildcard examples/[0-9]*.c)))
BENCHES      := $(patsubst bench/%.c,$(BUILD)/%,$(wildcard bench/bench_*.c))
TOOL_SOURCES := $(filter-out tools/amalgamate.c tools/gen_%.c,$(wildcard tools/*.c))
TOOL_OBJECTS := $(TOOL_SOURCES:%.c=$(BUILD)/%.o)
# Data arrays and the fonts among them are written by scripts and stay as those lay them out.
FORMATTED    := $(SOURCES) $(wildcard tests/*.[ch] tests/*/*.[ch] tools/*.[ch] examples/*.[ch] \
                bench/*.[ch])

.PHONY: help all tool demo deps test tests run-tests conformance check-slow bench examples example-programs \
        fuzz fuzzers damage install format format-check clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z.-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

all: tool example-programs ## the tool build/interp and the example programs

demo: deps ## the whole tour on embedded data: open out/report.html afterwards
	@$(MAKE) $(PARALLEL) tool
	$(BUILD)/interp demo -o $(OUT)

test: deps ## build and run every test on this CPU
	@$(MAKE) $(PARALLEL) run-tests

conformance: $(BUILD)/conformance ## ONNX's own conformance tests, those of Debian's libonnx-testdata
	$(BUILD)/conformance tests/conformance.txt $(wildcard $(addprefix $(CONFORMANCE)/,node pytorch-converted pytorch-operator simple))

damage: $(BUILD)/damage ## read each model of those tests damaged in every byte, with sanitizers
	printf '%s\n' $(wildcard $(CONFORMANCE)/node/*/model.onnx) | xargs -r -P $(JOBS) -n 100 $(BUILD)/damage

check-slow: deps ## sanitizers, valgrind, every instruction set, NEON, compile matrix, long fuzzing
	FUZZ_SECONDS=$(if $(filter file,$(origin FUZZ_SECONDS)),600,$(FUZZ_SECONDS)) VALGRIND_ONLY= NEON_ONLY= ISA_ONLY= SANITIZE_SKIP= FULL_MATRIX=1 FUZZ_LEVEL=-O1 \
		.ci/run compile sizes clang sanitize threads valgrind scalar avx2 avx512 neon fuzz

bench: $(BENCHES) ## interp.h beside the libraries that are installed: kernels, networks, embeddings, dynamics
	$(BUILD)/bench_kernels
	bench/bench_nets.py --worker $(BUILD)/bench_nets
	bench/bench_embed.py
	$(BUILD)/bench_dynamics

examples: deps ## build and run every example; results under out/
	@$(MAKE) $(PARALLEL) example-programs
	@mkdir -p $(OUT)
	@for e in $(EXAMPLES); do echo "== $$e"; $$e || { echo "$$e failed"; exit 1; }; done

fuzz: fuzzers ## fuzz every reader with clang's libFuzzer, FUZZ_SECONDS=60 each
	@FUZZ_SECONDS=$(FUZZ_SECONDS) FUZZ_FLAGS='$(FUZZ_FLAGS)' tools/run_fuzz.sh $(FUZZERS)

install: tool ## the tool, the header and interp.pc under PREFIX=/usr/local (DESTDIR= too)
	install -d '$(DESTDIR)$(PREFIX)/bin' '$(DESTDIR)$(PREFIX)/include' \
		'$(DESTDIR)$(PREFIX)/lib/pkgconfig'
	install -m 755 $(BUILD)/interp '$(DESTDIR)$(PREFIX)/bin/interp'
	install -m 644 interp.h '$(DESTDIR)$(PREFIX)/include/interp.h'
	@printf '%s\n' 'prefix=$(PREFIX)' 'includedir=$${prefix}/include' 'Name: interp' \
		'Description: One header that trains, loads and explains neural networks on CPU' \
		'Version: $(VERSION)' 'Cflags: -I$${includedir}' 'Libs: -lm -pthread' > $(BUILD)/interp.pc
	install -m 644 $(BUILD)/interp.pc '$(DESTDIR)$(PREFIX)/lib/pkgconfig/interp.pc'

deps: ## install what is missing (the stb headers)
	@STB_DIR='$(STB_DIR)' tools/deps.sh

format: ## clang-format every source file
	$(CLANG_FORMAT) -i $(FORMATTED)

format-check:
	@for f in $(FORMATTED); do $(CLANG_FORMAT) "$$f" | cmp -s - "$$f" || echo "$$f"; done \
		| { ! grep . || { echo "not formatted: run 'make format'"; exit 1; }; }

clean: ## remove build/ and out/
	rm -rf build '$(BUILD)' '$(OUT)'

interp.h: build/amalgamate $(SOURCES) ## write the header from src/; untouched when nothing changed
	@build/amalgamate src > build/interp.h.new
	@if cmp -s build/interp.h.new interp.h; then rm build/interp.h.new; \
	else mv build/interp.h.new interp.h; echo 'interp.h: written from src/'; fi

build/amalgamate: tools/amalgamate.c
	@mkdir -p $(@D)
	$(HOSTCC) -O1 -o $@ $<

tool: $(BUILD)/interp
tests: $(TESTS)
fuzzers: $(FUZZERS)
example-programs: $(EXAMPLES)

# RUNNER=, TEST_JOBS=, TEST_TIMEOUT= : see tools/run_tests.sh. ONLY= and SKIP= take names of programs.
CHOSEN = $(filter-out $(SKIP:%=$(BUILD)/%),$(or $(ONLY:%=$(BUILD)/%),$(TESTS)))
run-tests: $(CHOSEN)
	@tools/run_tests.sh $(CHOSEN)

$(BUILD)/interp: $(TOOL_OBJECTS)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS)

$(BUILD)/tools/%.o: tools/%.c interp.h
	@mkdir -p $(@D)
	$(COMPILE) -c -o $@ $<

# Tests that see private names hold the code themselves, without the rooms they leave out, and at -O1, which
# compiles in two thirds of the time; tests of the public interface are linked to the tool's copy.
PUBLIC_TESTS = $(patsubst tests/%.c,$(BUILD)/%,$(shell grep -L INTERP_IMPLEMENTATION tests/test_*.c))
$(PUBLIC_TESTS): $(BUILD)/tools/implementation.o
$(filter-out $(PUBLIC_TESTS) $(BUILD)/test_tool,$(TESTS)) $(BUILD)/conformance: \
    CFLAGS := $(CFLAGS:-O2=-O1)
$(BUILD)/test_%: tests/test_%.c interp.h
	@mkdir -p $(@D)
	$(COMPILE) -o $@ $< $(filter %.o,$^) $(LDFLAGS) $(LDLIBS)

$(BUILD)/conformance: tests/conformance.c interp.h
	@mkdir -p $(@D)
	$(COMPILE) -o $@ $< $(LDFLAGS) $(LDLIBS)

$(BUILD)/damage: CFLAGS = -O1 -g1 -fsanitize=address,undefined,float-cast-overflow \
                        -fno-sanitize-recover=all
$(BUILD)/damage: tests/damage.c interp.h
	@mkdir -p $(@D)
	$(COMPILE) -o $@ $< $(LDFLAGS) $(LDLIBS)

# The same op code in double precision, where finite differences are sharp.
$(BUILD)/test_gradients_double: tests/test_gradients.c interp.h
	@mkdir -p $(@D)
	$(COMPILE) -DINTERP_TEST_DOUBLE -o $@ $< $(LDFLAGS) $(LDLIBS)

$(BUILD)/test_tool: tests/test_tool.sh $(BUILD)/interp
	install -m 755 $< $@

# Examples are whole programs, `cc example.c -lm`. Here most borrow the tool's copy of the code, which
# spares compiling it for each; those that want it otherwise, or bring stb with them, hold their own, at -O1.
WHOLE_EXAMPLES = $(patsubst %.c,$(BUILD)/%,$(shell grep -lE 'INTERP_NO_|STB_\w*IMPLEMENTATION' examples/*.c))
BORROWING      = $(filter-out $(WHOLE_EXAMPLES),$(EXAMPLES))
$(WHOLE_EXAMPLES): private CFLAGS := $(CFLAGS:-O2=-O1)
$(BORROWING): $(BUILD)/tools/implementation.o
$(BORROWING): private CPPFLAGS += -DITP_IMPLEMENTED
$(BUILD)/examples/%: examples/%.c interp.h
	@mkdir -p $(@D)
	$(COMPILE) -o $@ $< $(filter %.o,$^) $(LDFLAGS) $(LDLIBS)

# libxsmm comes as a static library only; the other rivals are loaded at run time.
XSMM_FLAGS = $(shell pkg-config --exists libxsmmnoblas 2>/dev/null && echo -DBENCH_LIBXSMM)
XSMM_LIBS  = $(shell pkg-config --exists libxsmmnoblas 2>/dev/null && \
             echo -Wl,--start-group $$(pkg-config --libs libxsmmnoblas) -Wl,--end-group)
$(BUILD)/bench_%: bench/bench_%.c interp.h $(wildcard bench/*.h)
	@mkdir -p $(@D)
	$(COMPILE) $(XSMM_FLAGS) -o $@ $< $(LDFLAGS) $(LDLIBS) -ldl $(XSMM_LIBS)

# UMAPPP= where its headers and those it needs are: bench/README.md.
$(BUILD)/rival_umappp: bench/rival_umappp.cpp
	@mkdir -p $(@D)
	$(CXX) -std=c++17 -O3 -march=native $(UMAPPP:%=-I%) -o $@ $< -pthread

# CMGDB= where CMGDB.cpp, its headers, Python's and pybind11's are: bench/README.md.
$(BUILD)/rival_cmgdb: bench/rival_cmgdb.cpp
	@mkdir -p $(@D)
	$(CXX) -std=c++17 -O3 -DNDEBUG -march=native $(CMGDB:%=-I%) -o $@ $< -lboost_serialization \
		-lboost_thread -lboost_chrono $$(pkg-config --libs python3-embed) -pthread

FUZZ_CC     ?= clang
FUZZ_LEVEL  ?= -O1
FUZZ_CFLAGS ?= $(FUZZ_LEVEL) -g -fno-omit-frame-pointer -fsanitize=fuzzer,address,undefined \
               -fno-sanitize-recover=all
$(BUILD)/fuzz_%: CC = $(FUZZ_CC)
$(BUILD)/fuzz_%: CFLAGS = $(FUZZ_CFLAGS)
$(BUILD)/fuzz_%: tests/fuzz_%.c interp.h
	@mkdir -p $(@D)
	$(COMPILE) -o $@ $< $(LDFLAGS) $(LDLIBS)

-include $(wildcard $(BUILD)/*.d $(BUILD)/tools/*.d $(BUILD)/examples/*.d)
