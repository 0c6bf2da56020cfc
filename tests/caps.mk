# Programs that tests drive: tests/drive/drive_x.c -> build/<variant>/drive_x
DRIVERS := $(patsubst tests/drive/%.c,$(BUILD)/%,$(wildcard tests/drive/drive_*.c))
build-all: $(DRIVERS)

$(BUILD)/drive_%: $(BUILD)/tests/drive/drive_%.o $(BUILD)/libjointcap.a
	@$(CC) $(CFLAGS) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(LIBS)
$(BUILD)/drive_lift: $(BUILD)/tests/drive/lift_population.o $(BUILD)/tests/drive/lift_dmp.o

.PHONY: test-cluster
test-cluster: deps ## The store, then the whole bidder, on a real cluster; a master is killed
	+@$(MAKE) --no-print-directory VARIANT=asan build-all
	@python3 tests/run.py integration --pattern 'test_cluster*.py'
	+@$(MAKE) --no-print-directory VARIANT=release build-all
	@JOINTCAP_VARIANT=release python3 tests/system/caps.py --cluster

.PHONY: bench-caps
bench-caps: deps ## Bytes per person, latency and CPU of frequency caps, and the designs compared
	+@$(MAKE) --no-print-directory VARIANT=release build/release/bench/bench_caps
	@python3 bench/caps.py $(BENCH_ARGS)
