"""Notices through the real bidder and a real Redis: what they do, once, wherever they land."""
import html
import json
import re
import signal
import subprocess
import time
import urllib.parse
import xml.etree.ElementTree

import catalogs
import harness

OUTCOME = 'jointcap_notice_outcomes_total{outcome="%s"}'
REFUSED = 'jointcap_notices_refused_total{why="%s"}'


class Notices(harness.Case):
    def start(self, catalog=None, **options):
        path = f"{self.folder}/catalog.json"
        with open(path, "w", encoding="utf-8") as file:
            json.dump(catalog or catalogs.catalog(), file)
        self.events = f"{self.folder}/events"
        values = {"catalog": path, "redis_timeout": "500ms", "event_log": self.events,
                  "public_url": "http://ads.example", "workers": 2}
        values.update(options)
        return self.jointcap(**values)

    def bid(self, jointcap, *args, **kwargs):
        """The first bid on a request; retried while budgets have no lease yet."""
        def attempt():
            status, answer = jointcap.bid("x", catalogs.request(*args, **kwargs))
            self.assertEqual(status, 200)
            return answer.get("seatbid") and answer["seatbid"][0]["bid"][0]
        return harness.wait_until(attempt, "a bid")

    def say(self, jointcap, url, price=None, loss=None):
        """Calls a notice url as an exchange does; returns (status, headers, body)."""
        self.assertTrue(url.startswith("http://ads.example/notice/"), url)
        macros = {"AUCTION_PRICE": price, "AUCTION_LOSS": loss, "AUCTION_CURRENCY": "CNY"}
        for name, value in macros.items():
            if value is not None:
                url = url.replace("${%s}" % name, str(value))
        return jointcap.get(url.removeprefix("http://ads.example"))

    def settled(self, jointcap, before, outcome, count):
        try:
            harness.wait_until(lambda: jointcap.delta(before, OUTCOME % outcome) >= count, "them")
        except AssertionError:
            pass
        self.assertEqual(jointcap.delta(before, OUTCOME % outcome), count,
                         {name: value for name, value in jointcap.deltas(before).items()
                          if "notice" in name})

    def pixel(self, bid):
        urls = [html.unescape(url) for url in re.findall(r'src="([^"]+)"', bid["adm"])]
        return next(url for url in urls if "/notice/impression/" in url)

    def click(self, bid):
        return next(html.unescape(url) for url in re.findall(r'href="([^"]+)"', bid["adm"])
                    if "/notice/click/" in url)

    def spent(self, name="total"):
        """Settled money of every budget account in Redis of that kind, as {key: micros}."""
        keys = self.redis().command("KEYS", "b:{*}:*")
        return {key: int(self.redis().command("HGET", key, "S") or 0) for key in keys
                if (name == "total") == key.endswith(":t")}

    def report(self, *args):
        done = subprocess.run([str(harness.JOINTCAPCTL), "report", "--redis",
                               self.redis().address, "--format", "json", *args],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              env={"TZ": "Asia/Shanghai"}, timeout=harness.WAIT_SECONDS,
                              check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        return [json.loads(line) for line in done.stdout.splitlines()]

    # --- money ---

    def test_a_bill_is_booked_once_wherever_it_lands(self):
        jointcap = self.start()
        bid = self.bid(jointcap, person="bill-1")
        before = jointcap.metrics()
        for _ in range(12):  # each over a connection of its own: either worker
            self.assertEqual(self.say(jointcap, bid["burl"], 8)[0], 204)
        harness.wait_until(lambda: sum(jointcap.delta(before, OUTCOME % name)
                                       for name in ("settled", "duplicate")) >= 1, "the first")
        self.settled(jointcap, before, "settled", 1)
        harness.wait_until(lambda: self.spent() and max(self.spent().values()) == 8000, "Redis")
        self.assertEqual(max(self.spent("day").values()), 8000)
        harness.wait_until(lambda: [row for row in self.report() if row["spend"] == 0.008],
                           "the report")
        self.assertEqual(jointcap.delta(before, OUTCOME % "settled"), 1)

    def test_prices_that_are_none_charge_the_bid(self):
        jointcap = self.start()
        before = jointcap.metrics()
        for kind, price in (("unsubstituted", None), ("audit", "AUDIT"), ("empty", ""),
                            ("negative", "-4"), ("invalid", "NaN"), ("clipped", "99"),
                            ("unsubstituted", "%24%7BAUCTION_PRICE%7D")):
            bid = self.bid(jointcap, person=f"price-{price}")
            self.assertEqual(self.say(jointcap, bid["burl"], price)[0], 204)
        self.settled(jointcap, before, "settled", 7)
        self.assertEqual(
            jointcap.delta(before, 'jointcap_notice_prices_total{kind="unsubstituted"}'), 2)
        harness.wait_until(lambda: max(self.spent().values(), default=0) == 7 * 10000,
                           f"seven bids of CPM 10: {self.spent()}")

    def test_wins_are_not_spend(self):
        jointcap = self.start()
        bid = self.bid(jointcap, person="win-1")
        before = jointcap.metrics()
        self.assertEqual(self.say(jointcap, bid["nurl"], 9)[0], 204)
        self.settled(jointcap, before, "done", 1)
        self.assertEqual(jointcap.delta(before, OUTCOME % "settled"), 0)
        harness.wait_until(lambda: [row for row in self.report() if row["wins"] == 1],
                           "the report")
        self.assertEqual(sum(row["spend"] for row in self.report()), 0)

    def test_impressions_whose_ids_hash_alike_are_two(self):
        jointcap = self.start()
        _, answer = jointcap.bid("x", catalogs.request(
            "alike", [catalogs.banner("89"), catalogs.banner("287")]))
        bids = answer["seatbid"][0]["bid"]
        self.assertEqual([bid["impid"] for bid in bids], ["89", "287"])
        before = jointcap.metrics()
        for bid in bids:
            self.assertEqual(self.say(jointcap, bid["burl"], 9)[0], 204)
        self.settled(jointcap, before, "settled", 2)

    def test_video_is_billed_by_its_impression(self):
        jointcap = self.start()
        bid = self.bid(jointcap, person="video-1",
                       imps=[catalogs.video(deals=[catalogs.pdb_deal()])])
        self.assertNotIn("burl", bid)
        vast = xml.etree.ElementTree.fromstring(bid["adm"].encode())
        before = jointcap.metrics()
        named = [(element.tag.rsplit("}")[-1], element.text) for element in vast.iter()]
        url = next(text for name, text in named if name == "Impression").strip()
        for _ in range(4):
            status, headers, body = self.say(jointcap, url)
            self.assertEqual((status, headers["Content-Type"], len(body)), (200, "image/gif", 43))
        self.settled(jointcap, before, "settled", 1)
        harness.wait_until(lambda: max(self.spent().values(), default=0) == 25000, "Redis")
        trackers = [text.strip() for name, text in named if name == "Tracking"]
        self.assertGreaterEqual(len(trackers), 5)
        for tracker in trackers:
            self.assertEqual(self.say(jointcap, tracker)[0], 200)

    def test_reconcile_agrees_to_the_last_micro(self):
        jointcap = self.start()
        before = jointcap.metrics()
        bids = [self.bid(jointcap, person=f"rec-{i}") for i in range(40)]
        for i, bid in enumerate(bids):
            if i % 5 == 4:
                self.assertEqual(self.say(jointcap, bid["lurl"], 1, 102)[0], 204)
                continue
            for _ in range(1 + i % 3):
                self.assertEqual(self.say(jointcap, bid["burl"], 3 + i / 7)[0], 204)
        self.settled(jointcap, before, "settled", 32)
        self.settled(jointcap, before, "released", 8)
        jointcap.stop()
        done = self.reconcile()
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("32 settled impressions in the logs, 0 recorded twice", done.stderr)
        self.assertGreater(max(self.spent().values()), 32 * 3000)

    def test_reconcile_agrees_after_workers_were_killed(self):
        jointcap = self.start()
        for life in range(3):
            before = jointcap.metrics()
            bids = [self.bid(jointcap, person=f"life-{life}-{i}") for i in range(12)]
            for i, bid in enumerate(bids):
                self.assertEqual(self.say(jointcap, bid["burl"], 5 + i / 3)[0], 204)
            self.settled(jointcap, before, "settled", 12)
            # What is settled is in the log with the next tick: 100 ms.
            harness.wait_until(lambda: self.logged() == 12 * (life + 1), "the event log")
            old = set(jointcap.worker_pids())
            for pid in old:
                harness.os.kill(pid, signal.SIGKILL)
            harness.wait_until(lambda: len(set(jointcap.worker_pids()) - old) == 2, "new workers")
            harness.wait_until(lambda: jointcap.readyz()[0] == 200, "readiness")
        jointcap.stop()
        done = self.reconcile()
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("36 settled impressions in the logs, 0 recorded twice", done.stderr)

    def logged(self):
        """Settlements in all event log files."""
        files = [str(path) for path in harness.pathlib.Path(self.events).glob("events-*.log")]
        done = subprocess.run([str(harness.JOINTCAPCTL), "events", "--kind", "settle", *files],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              timeout=harness.WAIT_SECONDS, check=False)
        return len(done.stdout.splitlines())

    def reconcile(self):
        return subprocess.run([str(harness.JOINTCAPCTL), "reconcile", "--redis",
                               self.redis().address, "--all", self.events],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              timeout=harness.WAIT_SECONDS, check=False)

    # --- caps ---

    def test_a_cap_is_reached_by_impressions_and_losses_free_it(self):
        jointcap = self.start()  # red-day: 3 a day
        before = jointcap.metrics()
        for _ in range(4):
            bid = self.bid(jointcap, person="cap-1")
            self.assertEqual(self.say(jointcap, bid["lurl"], 1, 102)[0], 204)
        self.settled(jointcap, before, "released", 4)
        for _ in range(3):
            bid = self.bid(jointcap, person="cap-1")
            self.assertEqual(self.say(jointcap, self.pixel(bid))[0], 200)
            self.assertEqual(self.say(jointcap, bid["burl"], 8)[0], 204)
            self.assertEqual(self.say(jointcap, bid["lurl"], 8, 102)[0], 204)  # nonsense
        self.settled(jointcap, before, "settled", 3)
        status, answer = jointcap.bid("x", catalogs.request(person="cap-1"))
        self.assertEqual((status, answer.get("seatbid")), (200, None))
        self.assertEqual(answer["nbr"], 9)
        total, = harness.wait_until(
            lambda: [row for row in self.report("--by", "total")
                     if (row["impressions"], row["losses"]) == (3, 7)], "the report")
        self.assertEqual((total["reach"], total["clicks"]), (1, 0))

    # --- clicks ---

    def test_clicks_lead_to_the_landing_page_and_nowhere_else(self):
        jointcap = self.start()
        bid = self.bid(jointcap, person="click-1")
        url = self.click(bid)
        before = jointcap.metrics()
        for suffix in ("", "?url=https%3A%2F%2Fevil.example%2F", "?//evil.example"):
            status, headers, _ = self.say(jointcap, url + suffix)
            self.assertEqual((status, headers["Location"]),
                             (302, "https://acme.example/?a=1&b=2"))
        harness.wait_until(lambda: [row for row in self.report() if row["clicks"] == 1],
                           "the report")
        self.assertEqual(
            jointcap.delta(before, 'jointcap_notices_total{event="click"}'), 3)

    # --- refusals ---

    def test_forged_and_foreign_tokens(self):
        jointcap = self.start()
        bid = self.bid(jointcap, person="forge-1")
        before = jointcap.metrics()
        path = urllib.parse.urlsplit(bid["burl"]).path
        event, token = path.removeprefix("/notice/").split("/")
        for i in (0, 1, len(token) // 2, len(token) - 1):
            other = "A" if token[i] != "A" else "B"
            forged = f"/notice/{event}/{token[:i]}{other}{token[i + 1:]}?price=1"
            self.assertEqual(jointcap.get(forged)[0], 403)
        self.assertEqual(jointcap.get(f"/notice/impression/{token}")[0], 403)
        client = urllib.parse.urlsplit(self.pixel(bid)).path.rsplit("/", 1)[1]
        for event in ("win", "bill", "loss"):  # who sees the markup is not the exchange
            self.assertEqual(jointcap.get(f"/notice/{event}/{client}?price=1")[0], 403)
        self.assertEqual(jointcap.get("/notice/bill/")[0], 404)
        self.assertEqual(jointcap.get(f"/notice/nothing/{token}")[0], 404)
        self.assertEqual(jointcap.delta(before, REFUSED % "forged"), 8)
        self.assertEqual(jointcap.delta(before, REFUSED % "malformed"), 2)
        self.assertEqual(jointcap.delta(before, OUTCOME % "settled"), 0)

    # --- trouble ---

    def test_redis_silent_for_a_while_loses_no_money(self):
        jointcap = self.start(redis_timeout="50ms")
        bids = [self.bid(jointcap, person=f"silent-{i}") for i in range(5)]
        before = jointcap.metrics()
        self.redis().process.send_signal(signal.SIGSTOP)
        try:
            for bid in bids:
                self.assertEqual(self.say(jointcap, bid["burl"], 8)[0], 204)
            time.sleep(0.3)  # longer than a command may take
        finally:
            self.redis().process.send_signal(signal.SIGCONT)
        self.settled(jointcap, before, "settled", 5)
        harness.wait_until(lambda: max(self.spent().values(), default=0) == 40000,
                           f"Redis: {self.spent()}")

    def test_a_killed_workers_bids_are_still_booked(self):
        jointcap = self.start()
        bids = [self.bid(jointcap, person=f"killed-{i}") for i in range(10)]
        before = jointcap.metrics()
        old = set(jointcap.worker_pids())
        for pid in old:
            harness.os.kill(pid, signal.SIGKILL)
        harness.wait_until(lambda: len(set(jointcap.worker_pids()) - old) >= 2, "new workers")

        def again(bid):
            try:
                return self.say(jointcap, bid["burl"], 8)[0] == 204
            except OSError:
                return False
        for bid in bids:
            harness.wait_until(lambda bid=bid: again(bid), "the new workers' answers")
        self.settled(jointcap, before, "adopted", 10)
        harness.wait_until(lambda: max(self.spent().values(), default=0) == 80000,
                           f"Redis: {self.spent()}")

    def test_event_log_that_cannot_be_written_stops_bids_on_budgets(self):
        blocked = f"{self.folder}/blocked"
        with open(blocked, "w", encoding="utf-8") as file:
            file.write("not a folder")
        path = f"{self.folder}/catalog.json"
        with open(path, "w", encoding="utf-8") as file:
            json.dump(catalogs.catalog(), file)
        jointcap = self.jointcap(catalog=path, event_log=blocked, redis_timeout="500ms")
        harness.wait_until(
            lambda: jointcap.metrics().get("jointcap_event_log_failing") == 2, "the gauge")
        for i in range(5):
            _, answer = jointcap.bid("x", catalogs.request(person=f"blocked-{i}"))
            self.assertNotIn("seatbid", answer)
        harness.os.unlink(blocked)
        harness.os.mkdir(blocked)
        harness.wait_until(
            lambda: jointcap.metrics().get("jointcap_event_log_failing") == 0, "recovery")
        self.bid(jointcap, person="blocked-9")
