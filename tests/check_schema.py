#!/usr/bin/env python3
"""Holds deploy/catalog.schema.json and bidder/CATALOG.md against the loader.

The schema in the tree is what `jointcapctl schema` prints, the reference in CATALOG.md what
`jointcapctl schema --markdown` prints. Then catalogs, good and mutated: whatever the schema refuses
the loader refuses too; what is wrong in structure (a type, a name, a missing field, a word, a range,
a form) both refuse; what is wrong in meaning only the loader sees.
"""
import copy
import json
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
CTL = ROOT / "build/release/jointcapctl"
KNOWN = {"$schema", "$defs", "$ref", "title", "description", "default", "type", "properties",
         "required", "additionalProperties", "propertyNames", "items", "minItems", "maxItems",
         "uniqueItems", "enum", "const", "pattern", "minLength", "minimum", "maximum",
         "exclusiveMinimum", "anyOf", "oneOf"}


class Validator:
    """The part of JSON Schema 2020-12 that our schema uses; an unknown keyword is an error."""

    def __init__(self, schema):
        self.root = schema

    def resolve(self, reference):
        node = self.root
        for part in reference.removeprefix("#/").split("/"):
            node = node[part]
        return node

    def walk(self, schema):
        """Every schema inside a schema; raises on a keyword this validator does not know."""
        if isinstance(schema, bool):
            return
        unknown = set(schema) - KNOWN
        if unknown:
            raise ValueError(f"keywords the check does not know: {unknown}")
        if "$ref" in schema:
            self.resolve(schema["$ref"])
        if "pattern" in schema:
            re.compile(schema["pattern"])
        for key in ("properties", "$defs"):
            for inner in schema.get(key, {}).values():
                self.walk(inner)
        for key in ("items", "additionalProperties", "propertyNames"):
            self.walk(schema.get(key, True))
        for key in ("anyOf", "oneOf"):
            for inner in schema.get(key, []):
                self.walk(inner)

    @staticmethod
    def has_type(value, name):
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return {"object": isinstance(value, dict), "array": isinstance(value, list),
                "string": isinstance(value, str), "boolean": isinstance(value, bool),
                "number": number,
                "integer": number and float(value).is_integer()}[name]

    def errors(self, schema, value, at=""):
        if schema is True:
            return []
        if schema is False:
            return [f"{at}: not allowed"]
        found = []
        if "$ref" in schema:
            found += self.errors(self.resolve(schema["$ref"]), value, at)
        if "type" in schema and not self.has_type(value, schema["type"]):
            return found + [f"{at}: not of type {schema['type']}"]
        if "enum" in schema and value not in schema["enum"]:
            found.append(f"{at}: none of {schema['enum']}")
        if "const" in schema and value != schema["const"]:
            found.append(f"{at}: not {schema['const']!r}")
        for key in ("anyOf", "oneOf"):
            if key in schema:
                good = sum(not self.errors(inner, value, at) for inner in schema[key])
                if not good or (key == "oneOf" and good > 1):
                    found.append(f"{at}: {good} of {key} fit")
        if isinstance(value, str):
            found += self.text_errors(schema, value, at)
        elif isinstance(value, dict):
            found += self.object_errors(schema, value, at)
        elif isinstance(value, list):
            found += self.array_errors(schema, value, at)
        elif self.has_type(value, "number"):
            if value < schema.get("minimum", value) or value > schema.get("maximum", value) or \
                    ("exclusiveMinimum" in schema and value <= schema["exclusiveMinimum"]):
                found.append(f"{at}: out of range")
        return found

    @staticmethod
    def text_errors(schema, value, at):
        found = []
        # ECMA's $ ends at the end only; Python's also before a last line feed.
        if "pattern" in schema and not re.search(re.sub(r"\$$", r"\\Z", schema["pattern"]), value):
            found.append(f"{at}: does not match {schema['pattern']}")
        if len(value) < schema.get("minLength", 0):
            found.append(f"{at}: too short")
        return found

    def object_errors(self, schema, value, at):
        found = [f"{at}: {name} is missing" for name in schema.get("required", [])
                 if name not in value]
        properties = schema.get("properties", {})
        for name, inner in value.items():
            found += self.errors(schema.get("propertyNames", True), name, f"{at}/{name}")
            found += self.errors(properties.get(name, schema.get("additionalProperties", True)),
                                 inner, f"{at}/{name}")
        return found

    def array_errors(self, schema, value, at):
        found = []
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
            found.append(f"{at}: wrong number of items")
        if schema.get("uniqueItems") and len({json.dumps(v) for v in value}) < len(value):
            found.append(f"{at}: an item stands twice")
        for i, item in enumerate(value):
            found += self.errors(schema.get("items", True), item, f"{at}/{i}")
        return found


def at(document, path):
    node = document
    for part in path:
        node = node[part]
    return node


LINE = ("campaigns", 0, "line_items", 1)
DELETE = object()
# (path in tests/data/catalog/base.json, new value): wrong in structure, so both must refuse.
STRUCTURE = [
    (("timezone",), DELETE), (("timezone",), 8), (("timezone",), ""), (("currency",), "cny"),
    (("currency",), DELETE), (("currencies",), []), (("currencies",), {"usd": 1}),
    (("currencies",), {"USD": 0}), (("currencies",), {"USD": "seven"}),
    (("lifetime_window",), "1 year"), (("lifetime_window",), 365), (("dpms",), []),
    (("exchanges",), {}), (("exchanges", 0), "x1"), (("exchanges", 0, "id"), DELETE),
    (("exchanges", 0, "id"), "x 1"), (("exchanges", 0, "no_bid"), 204),
    (("exchanges", 0, "no_bid"), "none"), (("exchanges", 0, "tmax_ms"), 1),
    (("exchanges", 0, "tmax_ms"), "100"), (("exchanges", 0, "tmax_ms"), 99.5),
    (("exchanges", 0, "margin_ms"), None), (("exchanges", 0, "gzip"), 1),
    (("exchanges", 0, "vast"), 4.2), (("exchanges", 0, "price_unit"), "jiao"),
    (("exchanges", 0, "price_encoding"), {}), (("exchanges", 0, "price_encoding"), "google"),
    (("exchanges", 0, "price_encoding", "google", "integrity_key"), DELETE),
    (("exchanges", 0, "price_encoding", "google", "kye"), "x"),
    (("exchanges", 0, "response_headers"), ["no colon"]), (("exchanges", 0, "ids"), "device.ifa"),
    (("exchanges", 0, "max_qps"), -1), (("exchanges", 0, "idz"), []),
    (("advertisers", 0, "domain"), DELETE), (("advertisers", 0, "domain"), "https://a.example"),
    (("advertisers", 0, "cattax"), 0), (("advertisers", 0, "categories"), "IAB8"),
    (("advertisers", 0, "brands"), None), (("advertisers", 0, "brands", 0, "audience"), ["a1"]),
    (("audiences", 0, "any"), "s1"), (("audiences", 0, "any"), [""]), (("audiences", 0, "any"), [1]),
    (("audiences", 2, "none_audiences"), ["a1", "a1"]),
    (("frequency_caps", 0, "max"), 0), (("frequency_caps", 0, "max"), "4"),
    (("frequency_caps", 0, "window"), "7d"), (("frequency_caps", 0, "window"), {"rolling": 7}),
    (("frequency_caps", 0, "window"), {"calendar": "year"}),
    (("frequency_caps", 0, "window"), {"rolling": "7d", "calendar": "day"}),
    (("frequency_caps", 1, "min_interval"), "30min"), (("frequency_caps", 1, "identity"), "device"),
    (("frequency_caps", 0, "members"), ["b1"]), (("frequency_caps", 0, "members", "brand"), ["b1"]),
    (("deals", 0, "exchange"), DELETE), (("deals", 0, "buying"), "guaranteed"),
    (("deals", 0, "buying"), DELETE), (("deals", 0, "cpm"), -1), (("deals", 0, "cpm"), "1,5"),
    (("deals", 0, "push_ratio"), 0.9), (("deals", 0, "push_ratio"), 11),
    (("deals", 0, "impressions_per_day"), 1.5), (("deals", 0, "formats"), ["film"]),
    (("campaigns", 0, "start"), DELETE), (("campaigns", 0, "end"), 20991231),
    (("campaigns", 0, "start"), "2026-1-1"), (("campaigns", 0, "start"), "2026-01-01T08"),
    (("campaigns", 0, "budget"), 1000), (("campaigns", 0, "budget", "pacing"), "fast"),
    (("campaigns", 0, "budget", "unit"), "clicks"), (("campaigns", 0, "budget", "daily"), 0),
    (("campaigns", 0, "budget", "hourly"), [1] * 23), (("campaigns", 0, "line_items"), {}),
    (LINE + ("buying",), "RTB"), (LINE + ("creatives",), []), (LINE + ("creatives",), "i1"),
    (LINE + ("creatives",), DELETE), (LINE + ("creatives", 0, "weight"), 0),
    (LINE + ("creatives", 0, "wieght"), 1), (LINE + ("creatives", 0, "id"), DELETE),
    (LINE + ("bid_cpm",), 0), (LINE + ("bid_cpm",), True), (LINE + ("shading",), "yes"),
    (LINE + ("no_id",), "maybe"), (LINE + ("on_store_error",), True),
    (LINE + ("goal",), {"cpm": 3}), (LINE + ("goal",), {"cpc": 0}), (LINE + ("reserve",), "no"),
    (LINE + ("enabled",), None), (LINE + ("deals",), "d-pdb"),
    (LINE + ("targeting",), []), (LINE + ("targeting", "os"), "ios"),
    (LINE + ("targeting", "devices"), ["fridge"]), (LINE + ("targeting", "devices"), [4]),
    (LINE + ("targeting", "connections"), ["6g"]), (LINE + ("targeting", "geo", "countries"), ["CN"]),
    (LINE + ("targeting", "geo", "circles", 0, "lat"), 91),
    (LINE + ("targeting", "geo", "circles", 0, "radius_m"), DELETE),
    (LINE + ("targeting", "geo", "circles"), {"lat": 1, "lon": 1, "radius_m": 1}),
    (LINE + ("targeting", "media"), ["x.example"]), (LINE + ("targeting", "media"), {"deny": ["a b"]}),
    (LINE + ("targeting", "dayparts"), "18-24"), (LINE + ("targeting", "dayparts", 0, "day"), "mon"),
    (LINE + ("targeting", "audiences", "any"), "a1"), (LINE + ("targeting", "language"), ["zh"]),
    (("creatives", 0, "type"), "film"), (("creatives", 0, "type"), DELETE),
    (("creatives", 0, "w"), 0), (("creatives", 0, "h"), "480"), (("creatives", 0, "duration"), 0),
    (("creatives", 0, "mime"), "mp4"), (("creatives", 0, "url"), "ftp://cdn.example/v1.mp4"),
    (("creatives", 0, "url"), "https://cdn.example/a b"), (("creatives", 0, "attr"), ["1"]),
    (("creatives", 4, "assets"), {}), (("creatives", 4, "assets", 0, "kind"), "headline"),
    (("creatives", 4, "assets", 0, "kind"), DELETE), (("creatives", 4, "assets", 0, "txt"), "x"),
    (("rotations", 0, "deals"), DELETE), (("rotations", 0, "brands"), []),
    (("rotations", 0, "brands"), [{"brand": "b1", "share": 1}]),
    (("rotations", 0, "brands", 0, "share"), 0), (("rotations", 0, "brands", 0, "brand"), DELETE),
    (("rotations", 0, "window"), "30"), (("swaps", 0, "between"), ["b1"]),
    (("swaps", 0, "between"), ["b1", "b1"]), (("swaps", 0, "between"), DELETE),
    (("swaps", 0, "measure"), "money"), (("swaps", 0, "consent"), "true"),
    (("swaps", 0, "planned_impressions"), -5), (("dmps", 0, "url"), DELETE),
    (("dmps", 0, "url"), "127.0.0.1:9300"), (("dmps", 0, "deadline_ms"), 0),
    (("dmps", 0, "deadline_ms"), 101), (("dmps", 0, "cache"), 3600),
]
# Wrong in meaning: the schema cannot see it, the loader must.
MEANING = [
    (("timezone",), "Asia/Nowhere"), (("deals", 0, "exchange"), "x9"),
    (("exchanges", 0, "margin_ms"), 100), (("exchanges", 1, "id"), "x1"),
    (("audiences", 0, "any"), []), (("frequency_caps", 2, "window"), DELETE),
    (("deals", 1, "push_ratio"), 1.5), (("campaigns", 0, "start"), "2026-02-30"),
    (("campaigns", 0, "end"), "2025-12-31"), (("campaigns", 0, "line_items", 0, "deals"), DELETE),
    (LINE + ("bid_cpm",), DELETE), (LINE + ("goal",), {"cpc": 1, "cpa": 2}),
    (LINE + ("targeting", "dayparts", 0, "hours"), "25"), (("creatives", 0, "url"), DELETE),
    (("creatives", 2, "html"), "<b>both</b>"), (("rotations", 0, "brands", 1, "brand"), "b3"),
    (("swaps", 1, "consent"), DELETE), (("advertisers", 0, "brands", 1, "audience"), "a1"),
]
# Right: both must accept.
RIGHT = [
    (("$schema",), "catalog.schema.json"), (("comment",), {"any": "thing"}),
    (("deals", 0, "comment"), "why"), (("exchanges", 0, "id"), "x1"),
    (("lifetime_window",), "1w"), (("currencies",), {"USD": "7.123456", "comment": "as of today"}),
    (("frequency_caps", 0, "window"), {"calendar": "month"}), (("deals", 0, "cpm"), "25.5e0"),
    (("deals", 0, "cpm"), 0), (("campaigns", 0, "start"), "2026-01-01T00:00"),
    (("campaigns", 0, "start"), "2026-01-01T00:00:00Z"),
    (("campaigns", 0, "end"), "2099-12-31T23:59:59+08:00"),
    (LINE + ("creatives",), ["i1", {"id": "n1", "weight": 3, "targeting": {"os": ["ios"]}}]),
    (LINE + ("targeting",), {}), (LINE + ("budget", "hourly"), [1] * 24),
    (LINE + ("budget",), {"total": 5, "unit": "impressions"}),
    (LINE + ("targeting", "dayparts"), [{"days": "all"}, {"hours": "22-2"}]),
    (("creatives", 0, "url"), "https://cdn.example/\u5e7f\u544a.mp4"),
    (("rotations", 0, "brands", 0, "share"), "33.3"), (("swaps", 0, "start"), "2027-01-01"),
]


class Check:
    def __init__(self):
        self.schema = json.loads((ROOT / "deploy/catalog.schema.json").read_text())
        self.validator = Validator(self.schema)
        self.problems = []
        self.count = 0

    def same_text(self, what, path, marker, *arguments):
        printed = subprocess.run([CTL, *arguments], capture_output=True, text=True, check=True).stdout
        text = (ROOT / path).read_text()
        if (text.split(marker, 1)[-1] if marker else text) != printed:
            self.problems.append(f"{path} is not what `jointcapctl {' '.join(arguments)}` prints "
                                 f"({what})")

    def loads(self, document):
        with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as file:
            json.dump(document, file, ensure_ascii=False)
            file.flush()
            done = subprocess.run([CTL, "check", file.name], capture_output=True, text=True)
        if done.returncode not in (0, 1):
            self.problems.append(f"jointcapctl check ended with {done.returncode}: {done.stderr}")
        return done.returncode == 0, done.stderr

    def hold(self, name, document, schema_accepts, loader_accepts):
        self.count += 1
        errors = self.validator.errors(self.schema, document)
        loaded, said = self.loads(document)
        if (not errors) != schema_accepts:
            self.problems.append(f"{name}: the schema says {errors or 'good'}")
        if loaded != loader_accepts:
            self.problems.append(f"{name}: the loader says {said.strip() or 'good'}")

    def mutations(self, base, table, schema_accepts, loader_accepts):
        for path, value in table:
            document = copy.deepcopy(base)
            node = at(document, path[:-1])
            if value is DELETE:
                del node[path[-1]]
            else:
                node[path[-1]] = value
            shown = "removed" if value is DELETE else json.dumps(value)
            self.hold(f"/{'/'.join(map(str, path))} = {shown}", document, schema_accepts,
                      loader_accepts)


def main():
    check = Check()
    check.validator.walk(check.schema)
    check.same_text("make it again", "deploy/catalog.schema.json", None, "schema")
    check.same_text("behind the marker", "bidder/CATALOG.md",
                    "<!-- printed by: jointcapctl schema --markdown -->\n", "schema", "--markdown")
    base = json.loads((ROOT / "tests/data/catalog/base.json").read_text())
    sample = json.loads((ROOT / "deploy/catalog.json").read_text())
    check.hold("base", base, True, True)
    check.hold("deploy/catalog.json", sample, True, True)
    for wrong in ([], "catalog", 1, None):
        check.hold(f"the file is {json.dumps(wrong)}", wrong, False, False)
    check.mutations(base, STRUCTURE, False, False)
    check.mutations(base, MEANING, True, False)
    check.mutations(base, RIGHT, True, True)
    for problem in check.problems:
        print(problem)
    print(f"schema: {check.count} catalogs, {len(check.problems)} problems")
    return bool(check.problems)


if __name__ == "__main__":
    sys.exit(main())
