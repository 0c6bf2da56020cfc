# Programs that tests drive: tests/drive/drive_x.c -> build/<variant>/drive_x
DRIVERS := $(patsubst tests/drive/%.c,$(BUILD)/%,$(wildcard tests/drive/drive_*.c))
build-all: $(DRIVERS)

$(BUILD)/drive_%: $(BUILD)/tests/drive/drive_%.o $(BUILD)/libjointcap.a
	@$(CC) $(CFLAGS) -o $@ $^ $(LIBS)

.PHONY: test-cluster
test-cluster: deps ## The store on a real cluster of three masters, one of them killed
	+@$(MAKE) --no-print-directory VARIANT=asan build-all
	@python3 tests/run.py integration --pattern 'test_cluster.py'

.PHONY: bench-caps
bench-caps: deps ## Bytes per person, latency and CPU of frequency caps, and the designs compared
	+@$(MAKE) --no-print-directory VARIANT=release build/release/bench/bench_caps
	@python3 bench/caps.py $(BENCH_ARGS)
