"""The whole bidder on a Redis cluster of three masters and three replicas: what is tested on one
server elsewhere holds here too (caps, money, notices, swaps, reports, person tools, pacing), and a
master that is killed costs no request and no cap."""
import collections
import json
import pathlib
import shutil
import tempfile
import threading
import time
import unittest

import catalogs
import harness
import test_bids
import test_brands
import test_events
import test_forget
import test_notice
import test_pacing
import test_persons
import test_report
from cluster_redis import ClusterRedis

shared = None  # the cluster of all tests but those that break it


def setUpModule():
    global shared
    folder = tempfile.mkdtemp(prefix="jointcap-cluster-")
    unittest.addModuleCleanup(shutil.rmtree, folder, ignore_errors=True)
    shared = ClusterRedis(folder)
    unittest.addModuleCleanup(shared.stop)


class OnCluster:
    """Put before a test class: its redis() is the shared cluster, emptied."""

    def setUp(self):
        shared.command("FLUSHALL")
        super().setUp()

    def redis(self):
        return shared


def on_cluster(base, *names):
    """The named tests of a class, on the cluster."""
    missing = [name for name in names if not hasattr(base, name)]
    if missing:
        raise NameError(f"{base.__name__} has no {missing}")
    others = {name: None for name in dir(base) if name.startswith("test_") and name not in names}
    return type(base.__name__, (OnCluster, base), {"__module__": __name__, **others})


Bids = on_cluster(test_bids.Bids, "test_banner_video_native_and_deal",
                  "test_multi_imp_gets_a_bid_each_and_shares_the_caps",
                  "test_no_raw_id_reaches_redis_or_the_logs")
Reasons = on_cluster(test_bids.Reasons, "test_explain_names_the_cap_its_count_and_window")
Caps = on_cluster(test_bids.Caps, "test_cap_reached_after_impressions_across_workers_and_media",
                  "test_a_lost_bid_gives_its_place_back_and_a_confirmed_one_does_not",
                  "test_reservations_expire")
MustFill = on_cluster(test_bids.MustFill, "test_pdb_is_returned_within_the_allowance_then_filled")
Pacing = on_cluster(
    test_pacing.Pacing, "test_a_paced_line_lets_its_first_requests_through_and_then_a_share",
    "test_returns_stay_within_the_allowance_and_then_it_must_fill")
Restart = on_cluster(test_pacing.Restart, "test_what_a_killed_worker_spent_is_told_by_its_log")
Notices = on_cluster(
    test_notice.Notices, "test_a_bill_is_booked_once_wherever_it_lands",
    "test_reconcile_agrees_to_the_last_micro",
    "test_reconcile_agrees_after_workers_were_killed",
    "test_a_cap_is_reached_by_impressions_and_losses_free_it",
    "test_a_killed_workers_bids_are_still_booked")
Reconcile = on_cluster(test_events.Events, "test_reconcile",
                       "test_reconcile_sees_what_one_side_lacks")
Report = on_cluster(test_report.Report, "test_by_campaign", "test_reach_is_united_not_added")
SwapLedgers = on_cluster(test_report.Swaps, "test_both_sides_of_every_ledger")
Persons = on_cluster(test_persons.Persons, "test_link_person_forget", "test_consent")
Audiences = on_cluster(test_persons.Audiences, "test_load_and_count", "test_expiry_per_segment",
                       "test_resumes")
Rotation = on_cluster(test_brands.Rotation, "test_alternates", "test_caps_and_budgets_first")
Creatives = on_cluster(test_brands.Creatives,
                       "test_the_better_one_wins_and_workers_share_what_they_learn")
Swaps = on_cluster(test_brands.Swaps, "test_bound_holds_and_volumes_are_equal",
                   "test_a_loss_gives_back")
CrossAdvertiser = on_cluster(test_brands.CrossAdvertiser, "test_in_time_and_cached")
Forgotten = on_cluster(test_forget.Forgotten, "test_then_a_new_bid_then_the_old_notice",
                       "test_linked_ids_and_everything_known")
Consent = on_cluster(test_brands.Consent, "test_withdrawn_leaves_no_byte",
                     "test_forget_leaves_nothing_of_linked_ids",
                     "test_max_contacts_and_muted")

CAP = 3
PEOPLE = 240


class MasterKilled(harness.Case):
    """Everybody comes again and again over eight connections while a master dies and its replica
    takes over. What was shown is counted here."""

    def setUp(self):
        super().setUp()
        self._redis = ClusterRedis(self.folder)
        self.addCleanup(self._redis.stop)
        self.shown = collections.Counter()
        self.lock = threading.Lock()
        self.answers = collections.Counter()
        self.problems = []

    def catalog(self):
        value = catalogs.catalog()
        value["frequency_caps"] = [{"id": "joint", "max": CAP, "window": {"rolling": "7d"}}]
        value["campaigns"][0]["frequency_caps"] = ["joint"]
        value["campaigns"] = value["campaigns"][:1]
        value["campaigns"][0]["line_items"] = [catalogs.line(value, "red-rtb")]
        value["deals"] = []
        value["creatives"] = [c for c in value["creatives"] if c["id"] == "red-banner"]
        path = pathlib.Path(self.folder, "catalog.json")
        path.write_text(json.dumps(value))
        return path

    def ask(self, client, person):
        """One request, answered on the same connection; an impression and its notice if it bid."""
        body = json.dumps(catalogs.request(f"person-{person}"))
        client.request("POST", "/openrtb2/x204", body, {"Content-Type": "application/json"})
        response = client.getresponse()
        data = response.read()
        with self.lock:
            self.answers[response.status] += 1
            self.shown[person] += response.status == 200
        if response.status == 200:
            burl = json.loads(data)["seatbid"][0]["bid"][0]["burl"]
            path = "/" + burl.split("/", 3)[3].replace("${AUCTION_PRICE}", "9")
            client.request("GET", path)
            notice = client.getresponse()
            notice.read()
            with self.lock:
                self.answers[f"notice {notice.status}"] += 1
        return response.status == 200

    def loop(self, jointcap, number, until):
        client = test_brands.http.client.HTTPConnection(jointcap.host, jointcap.port,
                                                        timeout=harness.WAIT_SECONDS)
        try:
            turn = 0
            while not until.is_set():
                # Several connections ask for the same person at about the same time.
                self.ask(client, turn % PEOPLE)
                turn += 1
        except Exception as problem:  # a request without an answer
            self.problems.append(f"connection {number}: {problem!r}")
        finally:
            client.close()

    def test_no_request_unanswered_and_no_cap_passed(self):
        jointcap = self.jointcap(catalog=self.catalog(), workers=2, redis_timeout="300ms",
                                 reserve_seconds=600, event_log=f"{self.folder}/events")
        cluster = self._redis.cluster
        before = jointcap.metrics()
        until = threading.Event()
        threads = [threading.Thread(target=self.loop, args=(jointcap, i, until)) for i in range(8)]
        for thread in threads:
            thread.start()
        try:
            harness.wait_until(lambda: self.answers[200] >= PEOPLE // 3, "some bids")
            victim = cluster.masters()[0]
            victim.kill()
            killed = time.monotonic()
            refused = 'jointcap_no_bids_total{reason="store_down"}'
            harness.wait_until(lambda: jointcap.delta(before, refused) > 0, "refusals")
            harness.wait_until(lambda: len([n for n in cluster.nodes if n is not victim and
                                            cluster.is_master(n)]) == 3, "the failover")
            taken = time.monotonic() - killed
            victim.start()  # comes back as a replica
            after = jointcap.delta(before, refused)
            harness.wait_until(lambda: sum(self.shown.values()) >= CAP * PEOPLE, "everybody full")
        finally:
            until.set()
            for thread in threads:
                thread.join()
        said = dict(self.answers)
        print(f"failover after {taken:.1f} s, {after:.0f} refusals; answers {said}")
        self.assertEqual(self.problems, [])
        self.assertEqual(set(said) - {200, 204, "notice 204", "notice 200"}, set())
        self.assertEqual({p: n for p, n in self.shown.items() if n != CAP}, {})
        # Nobody bids for anybody any more, on whichever node the person lies.
        client = test_brands.http.client.HTTPConnection(jointcap.host, jointcap.port, timeout=20)
        self.assertFalse(any([self.ask(client, person) for person in range(PEOPLE)]))
        client.close()
        # And the money is the same on both sides, failover or not.
        settled = 'jointcap_notice_outcomes_total{outcome="settled"}'
        harness.wait_until(lambda: jointcap.delta(before, settled) >= CAP * PEOPLE, "settlements")
        jointcap.stop()
        done = test_brands.subprocess.run(
            [str(harness.JOINTCAPCTL), "reconcile", "--redis", self._redis.address,
             f"{self.folder}/events"], stdout=-1, stderr=-1, text=True, check=False,
            timeout=harness.WAIT_SECONDS)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn(f"{CAP * PEOPLE} settled impressions", done.stderr)


if __name__ == "__main__":
    unittest.main()
