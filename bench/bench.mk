# Targets of bench/; included by the Makefile.

.PHONY: bench bench-quick bench-build
bench-build: $(PROGRAMS) $(LOAD) $(FLOOR) $(FILL) $(MICRO)

bench: deps ## Floor servers, latency ladder, catalog sizes, persons: about 12 minutes, into bench/results/
	+@$(MAKE) --no-print-directory VARIANT=release bench-build
	@python3 bench/bench.py $(BENCH_ARGS)

bench-quick: ## The same in a minute, rougher (also: BENCH_QUICK=1 make bench)
	+@BENCH_QUICK=1 $(MAKE) --no-print-directory bench

.PHONY: lift
lift: all ## What caps, rotation and swaps do to reach, in a simulated week (PLOT=1: histograms)
	@python3 bench/lift/lift.py $(if $(PLOT),--plot build/lift) $(LIFT_ARGS)
