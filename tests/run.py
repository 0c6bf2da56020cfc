#!/usr/bin/env python3
"""Runs the project's tests and ends with "N passed, N failed".

  run.py unit          unit tests and simulations (ASan+UBSan build)
  run.py integration   tests/integration/test_*.py: real servers, free ports, temp dirs
  run.py fuzz [--seconds N]   libFuzzer over every target
  run.py all           unit, corpora replayed, checks, integration
"""
import argparse
import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
TALLY = re.compile(r"^(\d+) passed, (\d+) failed", re.M)


class Total:
    passed = 0
    failed = 0

    def add(self, passed, failed):
        self.passed += passed
        self.failed += failed


def run(command, timeout=600, cwd=ROOT):
    started = time.monotonic()
    try:
        done = subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, errors="replace", timeout=timeout)
        output, code = done.stdout, done.returncode
    except subprocess.TimeoutExpired as late:
        output = (late.stdout or b"").decode(errors="replace") + f"\ntimed out after {timeout} s"
        code = -1
    return code, output, time.monotonic() - started


def report(name, ok, detail, seconds, output="", lines=60):
    print(f"  {'ok  ' if ok else 'FAIL'} {name} {detail} ({seconds:.1f} s)", flush=True)
    if not ok:
        print("\n".join("      " + line for line in output.strip().splitlines()[-lines:]), flush=True)


def run_unit(total):
    folder = ROOT / "build/asan/tests"
    sources = [*ROOT.glob("tests/unit/test_*.c"), *ROOT.glob("tests/sim/*.c")]
    for source in sorted(sources, key=lambda path: path.stem):
        code, output, seconds = run([str(folder / source.stem)])
        tally = TALLY.search(output)
        passed, failed = map(int, tally.groups()) if tally else (0, 0)
        if code and not failed:
            failed = 1
        if not code and not passed:  # a test program that tests nothing is a failure
            failed = 1
        total.add(passed, failed)
        report(source.stem, not failed, f"{passed} passed", seconds, output)


def run_replay(total):
    for source in sorted(ROOT.glob("tests/fuzz/fuzz_*.c")):
        corpus = ROOT / "tests/data/fuzz" / source.stem.removeprefix("fuzz_")
        if not corpus.is_dir():
            total.add(0, 1)
            report(source.stem, False, "has no corpus", 0, f"{corpus} is missing")
            continue
        code, output, seconds = run([str(ROOT / "build/asan/fuzz" / source.stem), str(corpus)])
        total.add(code == 0, code != 0)
        report(source.stem, code == 0, output.strip().splitlines()[-1] if output else "", seconds,
               output)


def run_checks(total):
    checks = [("layering", [sys.executable, "tests/layering.py"])]
    checks += [(path.stem, [sys.executable, str(path)])
               for path in sorted(ROOT.glob("tests/check_*.py"))]
    for name, command in checks:
        code, output, seconds = run(command)
        total.add(code == 0, code != 0)
        report(name, code == 0, "", seconds, output)


# Integration tests mostly wait for servers to come up: several files run at once.
SIDE_BY_SIDE = 3
RAN = re.compile(r"^Ran (\d+) tests? in", re.M)
ENDED = re.compile(r"^(?:OK|FAILED)(?: \((.*)\))?$", re.M)


def run_integration_file(path):
    code, output, seconds = run([sys.executable, "-m", "unittest", "-v", path.stem], timeout=900,
                                cwd=path.parent)
    ran, ended = RAN.search(output), ENDED.search(output)
    counts = dict.fromkeys(("failures", "errors", "skipped"), 0)
    for part in (ended[1] or "").split(", ") if ended else []:
        name, _, number = part.partition("=")
        counts[name] = int(number or 0)
    failed = counts["failures"] + counts["errors"]
    if not ran or not ended or (code and not failed):
        failed = max(failed, 1)
    passed = (int(ran[1]) if ran else 0) - failed - counts["skipped"]
    return path, max(passed, 0), failed, counts["skipped"], seconds, output


def run_integration(total, pattern):
    files = sorted((ROOT / "tests/integration").glob(pattern),
                   key=lambda path: -path.stat().st_size)  # long ones first
    with concurrent.futures.ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        for done in concurrent.futures.as_completed(
                [pool.submit(run_integration_file, path) for path in files]):
            path, passed, failed, skipped, seconds, output = done.result()
            total.add(passed, failed)
            detail = f"{passed} passed" + (f", {skipped} skipped" if skipped else "")
            report(path.stem, not failed, detail, seconds, output, lines=200)


def run_fuzz(total, seconds):
    for source in sorted(ROOT.glob("tests/fuzz/fuzz_*.c")):
        name = source.stem.removeprefix("fuzz_")
        found = ROOT / "build/fuzz/corpus" / name
        found.mkdir(parents=True, exist_ok=True)
        code, output, took = run(
            [str(ROOT / "build/fuzz/fuzz" / source.stem), f"-max_total_time={seconds}",
             "-rss_limit_mb=2048", "-timeout=10", "-print_final_stats=1", str(found),
             str(ROOT / "tests/data/fuzz" / name)], timeout=seconds + 120)
        executed = re.search(r"number_of_executed_units: (\d+)", output)
        total.add(code == 0, code != 0)
        report(source.stem, code == 0, f"{executed.group(1) if executed else '?'} executions",
               took, output)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["unit", "integration", "fuzz", "all"])
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--pattern", default="test_*.py", help="integration files to run")
    args = parser.parse_args()
    os.environ.setdefault("ASAN_OPTIONS", "detect_leaks=1:abort_on_error=1")
    os.environ.setdefault("UBSAN_OPTIONS", "print_stacktrace=1")
    total = Total()
    if args.what in ("unit", "all"):
        run_unit(total)
    if args.what == "all":
        run_replay(total)
        run_checks(total)
    if args.what in ("integration", "all"):
        run_integration(total, args.pattern)
    if args.what == "fuzz":
        run_fuzz(total, args.seconds)
    print(f"{total.passed} passed, {total.failed} failed")
    return 1 if total.failed or not total.passed else 0


if __name__ == "__main__":
    sys.exit(main())
