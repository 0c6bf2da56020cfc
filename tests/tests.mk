-include tests/pacing.mk
-include tests/caps.mk

.PHONY: test-caps
test-caps: all ## Caps under bursts, lost notices and a killed worker: 0 over, 0 under
	@JOINTCAP_VARIANT=release python3 tests/system/caps.py
