#!/usr/bin/env python3
"""Checks that deploy/jointcap.conf is what the program's option table says, that every option has
a text, and that the documents name only options that exist. --write renews the file."""
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
CONF = ROOT / "deploy/jointcap.conf"
PROGRAMS = [ROOT / "build" / variant / "jointcap" for variant in ("release", "asan", "debug")]
# --name=value of jointcap itself, as documents and units write it.
USED = re.compile(r"jointcap\b[^\n|&;]*?((?:\s--[a-z_]+=\S+)+)")
ENVIRONMENT = re.compile(r"\bJOINTCAP_([A-Z][A-Z_]+)\b")
OTHER_ENVIRONMENT = {"VARIANT", "VERSION", "H"}


def main():
    program = next((path for path in PROGRAMS if path.exists()), None)
    if not program:
        print("no jointcap is built")
        return 1
    docs = subprocess.run([program, "--print-config-docs"], stdout=subprocess.PIPE, text=True,
                          check=True).stdout
    if "--write" in sys.argv:
        CONF.write_text(docs)
    problems = []
    if CONF.read_text() != docs:
        problems.append("deploy/jointcap.conf differs from `jointcap --print-config-docs`: run "
                        "tests/check_options.py --write")
    names = set(re.findall(r"^#([a-z_]+) =", docs, re.M))
    if len(names) < 30:
        problems.append(f"only {len(names)} options found")
    files = [ROOT / "README.md", ROOT / "bidder/README.md", *sorted((ROOT / "deploy").iterdir())]
    for file in files:
        if not file.is_file():
            continue
        text = file.read_text(errors="replace")
        used = {name for group in USED.findall(text)
                for name in re.findall(r"--([a-z_]+)=", group)}
        used |= {name.lower() for name in ENVIRONMENT.findall(text)
                 if name not in OTHER_ENVIRONMENT}
        for name in sorted(used - names - {"config"}):
            problems.append(f"{file.relative_to(ROOT)} names the option {name}, which is none")
    print("\n".join(problems) or f"options: {len(names)}, documents agree")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
