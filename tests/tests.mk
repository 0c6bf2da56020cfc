-include tests/pacing.mk
-include tests/caps.mk

.PHONY: test-caps
test-caps: all ## Caps under bursts, lost notices and a killed worker: 0 over, 0 under
	@JOINTCAP_VARIANT=release python3 tests/system/caps.py

$(BUILD)/alloc_watch.so: tests/alloc/alloc_watch.c
	@mkdir -p $(@D)
	@$(CC) -std=gnu11 -D_GNU_SOURCE -O2 -g $(WARN) -fPIC -shared -o $@ $< -ldl

.PHONY: alloc-check
alloc-check: deps ## Allocations of a warm request, by the place they are made from: 0 by our code
	+@$(MAKE) --no-print-directory VARIANT=release build-all build/release/alloc_watch.so
	@python3 tests/alloc/check.py
