"""jointcapctl report over a real Redis that holds what workers write."""
import csv
import datetime
import io
import json
import os
import subprocess

import harness

ROW_A, ROW_B, ROW_C = "a1.e1.d1.b1", "a2.e2.0.b2", "0.e1.d1.0"


class Swaps(harness.Case):
    def test_both_sides_of_every_ledger(self):
        redis = self.redis()
        redis.command("HSET", "s:{%08x}" % harness.ref_of("oreo-stride"), "S0", 70, "S1", 50, "O0", 3,
                      "Z0", 2, "7", "1 2 3")
        redis.command("HSET", "s:{%08x}" % harness.ref_of("stride-northcar"), "S1", 1500000)
        command = [str(harness.JOINTCAPCTL), "swaps", str(harness.CATALOG), "--redis",
                   redis.address]
        done = subprocess.run(command + ["--json"], stdout=subprocess.PIPE, text=True, check=True,
                              timeout=harness.WAIT_SECONDS)
        first, second = map(json.loads, done.stdout.splitlines())
        self.assertEqual(first, {"swap": "oreo-stride", "measure": "impressions", "sides": [
            {"brand": "oreo", "gave": 70, "may_be_giving": 5, "balance": 20},
            {"brand": "stride", "gave": 50, "may_be_giving": 0, "balance": -20}]})
        self.assertEqual([side["gave"] for side in second["sides"]], [0, 1.5])
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True,
                              timeout=harness.WAIT_SECONDS)
        self.assertRegex(done.stdout, r"(?m)^oreo-stride +oreo +impressions +70 +5 +20$")
        done = subprocess.run(command[:2] + ["/nonexistent"], stderr=subprocess.PIPE, check=False,
                              timeout=harness.WAIT_SECONDS)
        self.assertEqual(done.returncode, 1)


class Report(harness.Case):
    def report(self, *args, env=None):
        return subprocess.run([str(harness.JOINTCAPCTL), "report", "--redis",
                               self.redis().address, *args], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=harness.WAIT_SECONDS,
                              check=False, env={**os.environ, **(env or {})})

    def fill(self, day, scale=1):
        redis, tag = self.redis(), "{r%d}" % day
        redis.command("SADD", tag + "rows", ROW_A, ROW_B, ROW_C, "not a row")
        redis.command("HSET", tag + "names", "la1", "oreo-pdb|autumn|oreo", "la2",
                      "stride-rtb|winter|stride", "ee1", "iqiyi", "ee2", "youku", "dd1",
                      "PDB-1", "bb1", "oreo", "bb2", "stride")
        redis.command("HSET", tag + "c:" + ROW_A, "bids", 900 * scale, "impressions", 600 * scale,
                      "clicks", 6 * scale, "spend", 15000000 * scale, "seen_0", 300 * scale,
                      "seen_1", 200 * scale, "seen_2", 100 * scale, "a_later_column", 5)
        redis.command("HSET", tag + "c:" + ROW_B, "bids", 100, "impressions", 200, "spend",
                      2500000, "seen_0", 200)
        redis.command("HSET", tag + "c:" + ROW_C, "pushes", 1500, "returns", 500)
        redis.command("PFADD", tag + "p:" + ROW_A, *[f"p{i}" for i in range(300)])
        redis.command("PFADD", tag + "t:" + ROW_A, *[f"p{i}" for i in range(120)])
        redis.command("PFADD", tag + "p:" + ROW_B, *[f"p{i}" for i in range(200, 400)])

    def rows(self, *args):
        done = self.report("--format", "json", *args)
        self.assertEqual(done.returncode, 0, done.stderr)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def test_by_campaign(self):
        self.fill(20261122)
        rows = {row["campaign"]: row for row in self.rows("--day", "2026-11-22")}
        self.assertEqual(sorted(rows), ["-", "autumn", "winter"])
        autumn = rows["autumn"]
        self.assertEqual(autumn["impressions"], 600)
        self.assertEqual(autumn["spend"], 15)
        self.assertEqual(autumn["share_percent"], 75)
        self.assertAlmostEqual(autumn["reach"], 300, delta=9)
        self.assertAlmostEqual(autumn["reach_in_target"], 120, delta=4)
        self.assertAlmostEqual(autumn["cost_per_person"], 0.05, delta=0.002)
        self.assertEqual(autumn["frequency"][:4], [100, 100, 100, 0])
        self.assertEqual(sum(autumn["frequency"]), 300)
        self.assertEqual(rows["-"]["pushes"], 1500)
        self.assertIsNone(rows["-"]["cost_per_person"])

    def test_reach_is_united_not_added(self):
        self.fill(20261122)
        self.fill(20261123)
        total, = self.rows("--day", "20261122", "--to", "20261123", "--by", "total")
        self.assertAlmostEqual(total["reach"], 400, delta=12)
        self.assertEqual(total["impressions"], 1600)
        days = self.rows("--day", "20261122", "--to", "20261123", "--by", "day")
        self.assertEqual([row["day"] for row in days], ["20261122", "20261123"])

    def test_other_groups_and_filter(self):
        self.fill(20261122)
        for by, labels in (("line", ["-", "oreo-pdb", "stride-rtb"]),
                           ("brand", ["-", "oreo", "stride"]), ("medium", ["iqiyi", "youku"]),
                           ("deal", ["-", "PDB-1"])):
            rows = self.rows("--day", "20261122", "--by", by)
            self.assertEqual([row[by] for row in rows], labels)
        rows = self.rows("--day", "20261122", "--by", "medium", "--campaign", "winter")
        self.assertEqual([(row["medium"], row["bids"]) for row in rows], [("youku", 100)])
        self.assertEqual(self.rows("--day", "20261121"), [])

    def test_table_and_csv(self):
        self.fill(20261122)
        done = self.report("--day", "20261122")
        self.assertEqual(done.returncode, 0)
        self.assertRegex(done.stdout, r"(?m)^autumn .* 600 .* 75 .* 15 ")
        done = self.report("--day", "20261122", "--format", "csv")
        rows = {row["campaign"]: row for row in csv.DictReader(io.StringIO(done.stdout))}
        self.assertEqual(rows["autumn"]["impressions"], "600")
        self.assertEqual(rows["winter"]["spend"], "2.5")
        self.assertEqual(rows["-"]["cost_per_person"], "")

    def test_today_is_the_catalogs_whatever_the_machines_timezone(self):
        # Kiritimati and Midway are 25 hours apart: their days are never the same.
        zones = {zone: datetime.datetime.now(datetime.timezone(datetime.timedelta(hours=hours)))
                 for zone, hours in (("Pacific/Kiritimati", 14), ("Pacific/Midway", -11))}
        for zone, now in zones.items():
            self.redis().command("HSET", "reports", "timezone", zone)
            self.fill(int(now.strftime("%Y%m%d")))
            for machine in ("Pacific/Kiritimati", "Pacific/Midway"):
                done = self.report("--by", "day", "--format", "json", env={"TZ": machine})
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertEqual([json.loads(line)["day"] for line in done.stdout.splitlines()],
                                 [now.strftime("%Y%m%d")])
                self.assertEqual(done.stderr, "")
            self.redis().command("FLUSHALL")
        self.assertIn("timezone", self.report().stderr)

    def test_a_bidder_tells_its_timezone(self):
        self.jointcap(workers=1)
        harness.wait_until(lambda: self.redis().command("HGET", "reports", "timezone") ==
                           "Asia/Shanghai", "the catalog's timezone")

    def test_usage(self):
        for args in (("--day", "20261131"), ("--day", "x"), ("--by", "moon"),
                     ("--format", "xml"), ("--day", "20261122", "--to", "20261121")):
            self.assertEqual(self.report(*args).returncode, 2, args)
        done = subprocess.run([str(harness.JOINTCAPCTL), "report", "--redis",
                               f"unix:{self.folder}/nobody.sock"], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, check=False,
                              timeout=harness.WAIT_SECONDS)
        self.assertEqual(done.returncode, 3)
