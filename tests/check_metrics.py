#!/usr/bin/env python3
"""Checks that what deploy/ and the documents say about metrics is true of the program:

- every metric named in alerts, dashboard, runbook and READMEs is in a metric table of the code,
- every reason= label value named beside jointcap_no_bids_total is a no-bid reason of the code,
- every alert has its section in the runbook, and the runbook's table of metrics is that of the
  code (--write renews the table).
"""
import json
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
NAME = re.compile(r"\bjointcap_[a-z0-9_]+")
SUFFIX = re.compile(r"_(bucket|sum|count)$")
# Not metrics: what systemd, files and labels are called.
OTHER = re.compile(r"jointcap_(bench|test|data)\b")
TABLE_ROW = re.compile(r'METRIC_(\w+),\s*"(jointcap_\w+)",\s*("\w+"|NULL),[^"]*?,'
                       r'\s*((?:"(?:[^"\\]|\\.)*"\s*)+)\)')
MATRIX = re.compile(r'struct metric_matrix \w+ = \{(.*?)\};', re.S)
MEMBER = re.compile(r'\.(\w+) = "([^"]*)"')
MARK = "<!-- metrics: written by tests/check_metrics.py --write -->\n"
# Series that Prometheus makes from ours by the recording rules of alerts.yml.
RECORD = re.compile(r"^\s*-?\s*record: (\S+)", re.M)


def defined():
    """{name: (type, label, help)} from the metric tables and matrices."""
    names = {}
    for folder in ("bidder", "frequency", "pacing", "proto"):
        for path in sorted((ROOT / folder).rglob("*.[ch]")):
            text = re.sub(r"\\\n\s*", " ", path.read_text())
            for kind, name, label, text_of in TABLE_ROW.findall(text):
                names[name] = (kind.lower(), label.strip('"').replace("NULL", ""),
                               re.sub(r'"\s+"', "", text_of).strip().strip('"'))
            for found in MATRIX.findall(text):
                members = dict(MEMBER.findall(found))
                names[members["name"]] = ("counter", f"{members['row_label']}, "
                                          f"{members['column_label']}", members["help"])
            # Text written by hand: what the supervisor knows itself.
            for name, text_of in re.findall(r"# HELP (jointcap_\w+) ([^\\\n\"]*)", text):
                kind = re.search(rf"# TYPE {name} (\w+)", text)
                names[name] = (kind.group(1) if kind else "gauge", "", text_of)
    return names


def metric_table(names):
    lines = ["| metric | type | labels | what it counts |", "|---|---|---|---|"]
    for name, (kind, label, text) in sorted(names.items()):
        kind = {"time": "histogram, s", "size": "histogram", "gauge_max": "gauge"}.get(kind, kind)
        lines.append(f"| `{name}` | {kind} | {label} | {text.strip()} |")
    return "\n".join(lines) + "\n"


def reasons():
    text = (ROOT / "bidder/reason.h").read_text()
    return {name.lower() for name in re.findall(r"\bX\((\w+), \d+,", text)}


def check_names(names, path):
    text = path.read_text()
    problems = []
    recorded = set(RECORD.findall(text))
    for name in sorted(set(NAME.findall(text)) - recorded):
        base = SUFFIX.sub("", name)
        if name in names or OTHER.match(name):
            continue
        if base in names and names[base][0] in ("time", "size"):
            continue
        problems.append(f"{path.relative_to(ROOT)}: there is no metric {name}")
    for found in re.findall(r'jointcap_no_bids_total\{[^}]*reason=~?"([^"]+)"', text):
        for reason in found.replace("\\", "").split("|"):
            if reason not in reasons():
                problems.append(f"{path.relative_to(ROOT)}: there is no no-bid reason {reason}")
    return problems


def main():
    names = defined()
    deploy = ROOT / "deploy"
    files = [deploy / "alerts.yml", deploy / "grafana-dashboard.json", deploy / "RUNBOOK.md",
             *(path for path in sorted(ROOT.rglob("README.md")) if "build" not in path.parts)]
    problems = [problem for path in files if path.exists() for problem in check_names(names, path)]
    json.loads((deploy / "grafana-dashboard.json").read_text())
    runbook = (deploy / "RUNBOOK.md").read_text()
    alerts = re.findall(r"^\s*- alert: (\w+)", (deploy / "alerts.yml").read_text(), re.M)
    headings = set(re.findall(r"^### (\w+)", runbook, re.M))
    problems += [f"RUNBOOK.md has no section for the alert {alert}"
                 for alert in alerts if alert not in headings]
    problems += [f"RUNBOOK.md has a section for {name}, which is no alert"
                 for name in sorted(headings - set(alerts))]
    before, table, after = runbook.partition(MARK)
    table = after[:after.index("\n\n") + 1] if "\n\n" in after else after
    if table != metric_table(names):
        if "--write" in sys.argv[1:]:
            (deploy / "RUNBOOK.md").write_text(
                before + MARK + metric_table(names) + after[len(table):])
        else:
            problems.append("RUNBOOK.md: the table of metrics is not that of the code; "
                            "run python3 tests/check_metrics.py --write")
    print("\n".join(problems) or f"metrics: {len(names)} in the code, all explained; "
          f"{len(alerts)} alerts, all with a remedy")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
