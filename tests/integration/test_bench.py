"""The parts of bench.py that decide what its tables say, and the files it makes."""
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest
import xml.dom.minidom

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "bench"))

import catalog_gen  # noqa: E402
import metrics  # noqa: E402
import plots  # noqa: E402
import protobuf  # noqa: E402

BEFORE = """# HELP jointcap_stage_seconds x
# TYPE jointcap_stage_seconds histogram
jointcap_stage_seconds_bucket{stage="decode",le="0.000001"} 10
jointcap_stage_seconds_bucket{stage="decode",le="0.000005"} 10
jointcap_stage_seconds_bucket{stage="decode",le="+Inf"} 10
jointcap_no_bids_total{reason="at_cap"} 3
jointcap_bid_requests_total 10
"""
AFTER = """jointcap_stage_seconds_bucket{stage="decode",le="0.000001"} 60
jointcap_stage_seconds_bucket{stage="decode",le="0.000005"} 108
jointcap_stage_seconds_bucket{stage="decode",le="+Inf"} 110
jointcap_stage_seconds_bucket{stage="read",le="+Inf"} 0
jointcap_no_bids_total{reason="at_cap"} 8
jointcap_no_bids_total{reason="throttled"} 0
jointcap_bid_requests_total 110
"""


class MetricsTest(unittest.TestCase):
    def setUp(self):
        self.change = metrics.difference(metrics.parse(BEFORE), metrics.parse(AFTER))

    def test_stage_quantiles_are_of_the_time_between(self):
        stages = metrics.stages(self.change)
        self.assertEqual(list(stages), ["decode"])
        self.assertEqual(stages["decode"]["count"], 100)
        self.assertAlmostEqual(stages["decode"]["p50"], 1.0)
        # The 99th of 100 lies beyond the last bound: that bound is the best that can be said.
        self.assertAlmostEqual(stages["decode"]["p99"], 5.0)

    def test_quantiles_interpolate(self):
        buckets = [(1e-6, 0), (3e-6, 100), (float("inf"), 100)]
        self.assertAlmostEqual(metrics.quantile(buckets, 0.5), 2.0)
        self.assertAlmostEqual(metrics.quantile(buckets, 1.0), 3.0)

    def test_counts(self):
        self.assertEqual(metrics.no_bids(self.change), {"at_cap": 5})
        self.assertEqual(metrics.counters(self.change), {"jointcap_bid_requests_total": 100})


class FilesTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def test_requests_repeat_and_have_the_size_of_real_ones(self):
        for name in ("a", "b"):
            catalog_gen.write_requests(self.folder / name, 20, seed=3)
        for path in (self.folder / "a").iterdir():
            self.assertEqual(path.read_bytes(), (self.folder / "b" / path.name).read_bytes())
            self.assertTrue(1500 < path.stat().st_size < 4500)
            body = json.loads(path.read_text())
            self.assertTrue(body["imp"] and body["device"]["ifa"])
        deals = [path for path in (self.folder / "a").iterdir() if b"PDB-BENCH-1"
                 in path.read_bytes()]
        self.assertEqual(len(deals), 5)

    def test_protobuf_is_the_twin_of_json(self):
        catalog_gen.write_requests(self.folder / "j", 8, seed=3)
        catalog_gen.write_requests(self.folder / "p", 8, seed=3, as_protobuf=True)
        message = protobuf.load().inner["BidRequest"]
        for path in (self.folder / "j").iterdir():
            want = json.loads(path.read_text())
            data = (self.folder / "p" / path.with_suffix(".pb").name).read_bytes()
            got = protobuf.decode(message, data)
            for part in ("id", "cur", "tmax", "bcat", "badv"):
                self.assertEqual(got[part], want[part])
            self.assertEqual(got["device"]["ifa"], want["device"]["ifa"])
            self.assertEqual(got["device"]["geo"]["region"], want["device"]["geo"]["region"])
            self.assertEqual(got["imp"][0].get("pmp"), want["imp"][0].get("pmp") and {
                **want["imp"][0]["pmp"], "private_auction": True,
                "deals": got["imp"][0]["pmp"]["deals"]})
            for cut in range(1, len(data), 7):
                try:
                    protobuf.decode(message, data[:cut])
                except ValueError:
                    pass

    def test_catalogs_have_the_lines_asked_for(self):
        for lines in (5, 10, 1000):
            path = self.folder / f"{lines}.json"
            catalog_gen.write_catalog(path, lines)
            catalog = json.loads(path.read_text())
            found = [line["id"] for campaign in catalog["campaigns"]
                     for line in campaign["line_items"]]
            self.assertEqual(len(found), lines)
            self.assertEqual(len(set(found)), lines)

    def test_the_program_accepts_the_catalog(self):
        program = ROOT / "build/asan/jointcapctl"
        if not program.exists():
            self.skipTest("jointcapctl is not built")
        path = self.folder / "catalog.json"
        catalog_gen.write_catalog(path, 2000)
        done = subprocess.run([program, "check", path], capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_plots_are_svg(self):
        for text in (plots.bars("a < b", [("x", 10, "(1)"), ("y", 5, "")], "/s"),
                     plots.lines("t", "x", "y", {"p50": [(10, 20), (1000, 25)]}),
                     plots.lines("t", "x", "y", {"p50": [(10, 20)]})):
            picture = xml.dom.minidom.parseString(text)
            self.assertEqual(picture.documentElement.tagName, "svg")


if __name__ == "__main__":
    unittest.main()
