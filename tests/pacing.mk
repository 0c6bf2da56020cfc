# Simulations and longer checks of money and pacing.
.PHONY: sim-pacing
SIM = $(BUILD)/tests

sim-pacing: deps $(SIM)/sim_pacing ## Simulated days against the real throttle; PLOT=1 writes SVGs
	@$(if $(PLOT),mkdir -p build/sim)
	@SIM_FULL=1 $(if $(PLOT),SIM_PLOT=build/sim) $(if $(SHARED),SIM_SHARED=$(SHARED)) \
	  $(SIM)/sim_pacing

.PHONY: sim-return
sim-return: deps $(SIM)/sim_return ## A day of PDB pushes: how much is returned, by ratio and workers
	@SIM_FULL=1 $(SIM)/sim_return

.PHONY: test-returns
test-returns: all ## A PDB deal nobody wants: returned of what may be, by ratio and workers
	@JOINTCAP_VARIANT=release python3 tests/system/returns.py $(RETURNS_ARGS)

.PHONY: test-redis-stop
test-redis-stop: all ## Redis stands still for 5 s at 2,000 requests/s: none unanswered, late or over
	@JOINTCAP_VARIANT=release python3 tests/system/redis_stop.py $(REDIS_STOP_ARGS)

.PHONY: test-money
test-money: deps ## Four workers, 50 budgets, a real Redis, everything killed once: never overspent
	+@$(MAKE) --no-print-directory VARIANT=release build-all build/release/drive_money
	@python3 tests/system/money.py $(MONEY_ARGS)
	@JOINTCAP_VARIANT=release python3 tests/system/money_bidder.py $(MONEY_BIDDER_ARGS)
