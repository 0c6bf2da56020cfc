"""jointcapctl link, forget, person, consent and audience against a real Redis."""
import os
import pathlib
import random
import signal
import subprocess
import sys
import time
import unittest

import harness

sys.path.insert(0, str(harness.ROOT / "deploy"))
import cluster as redis_cluster  # noqa: E402


class PersonCase(harness.Case):
    """jointcapctl with the test's Redis and secret."""

    def setUp(self):
        super().setUp()
        self.secret_file = pathlib.Path(self.folder, "secret")
        self.secret_file.write_text(harness.SECRET + "\n")

    def command(self, name, *args):
        return [str(harness.JOINTCAPCTL), name, f"--redis={self.redis().address}",
                f"--secret-file={self.secret_file}", *args]

    def ctl(self, name, *args, code=0):
        done = subprocess.run(self.command(name, *args), stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=120, check=False)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done.stdout + done.stderr

    def file(self, name, text):
        path = pathlib.Path(self.folder, name)
        path.write_text(text)
        return str(path)


class Persons(PersonCase):
    def test_link_person_forget(self):
        path = self.file("links.csv", "type,id,type,id\n"
                         "# a comment\n"
                         "ifa,AAAA-1,eid:login.example,u-1\n"
                         "ifa,aaaa-1,\"buyeruid@x\",\"b-1\"\n"
                         "ifa,00000000-0000-0000-0000-000000000000,oaid,x\n"
                         "ifa,only\n"
                         "ifaa,x,ifa,y\n")
        said = self.ctl("link", path, code=1)
        self.assertIn("2 rows linked, 3 bad", said)
        self.assertIn("links.csv:5: an id that names nobody", said)
        self.assertIn("links.csv:6:", said)
        words = self.ctl("person", "eid:login.example:u-1")
        self.assertEqual(words.count("linked id"), 2, words)
        self.ctl("audience", "add", "ifa:aaaa-1", "beer", "wine")
        words = self.ctl("person", "buyeruid@x:b-1", "--segments", "beer,wine")
        self.assertEqual(words.count("segment beer until"), 3, words)  # each linked id has it
        self.ctl("audience", "remove", "eid:login.example:u-1", "wine")
        self.assertNotIn("wine", self.ctl("person", "ifa:aaaa-1", "--segments", "beer,wine"))
        self.assertIn("3 records deleted", self.ctl("forget", "ifa:aaaa-1"))
        self.assertEqual(set(self.dump()), {key for key in self.redis().command("KEYS", "*")
                                            if key.endswith("}f")})  # only that and when
        self.assertIn("nothing stored", self.ctl("person", "ifa:aaaa-1"))

    def test_consent(self):
        person = "oaid:p-9"
        self.ctl("audience", "add", person, "young", "--expires", "2h")
        self.ctl("consent", person, "--max-contacts", "4", "--mute", "red,IAB8")
        words = self.ctl("person", person)
        self.assertIn("at most 4 contacts per day", words)
        self.assertEqual(words.count("muted"), 2)
        self.ctl("consent", person, "--unmute=IAB8", "--max-contacts=0", "--withdraw")
        words = self.ctl("person", person)
        self.assertIn("consent withdrawn", words)
        self.assertNotIn("segment", words)
        self.assertNotIn("contacts", words)
        self.assertEqual(words.count("muted"), 1)
        # Withdrawn: audiences leave no byte.
        before = self.dump()
        self.assertIn("withdrawn", self.ctl("audience", "add", person, "young", code=1))
        path = self.file("young.csv", "oaid,p-9\noaid,p-10\n")
        self.assertIn("1 skipped (consent withdrawn)",
                      self.ctl("audience", "load", path, "--segment", "young"))
        self.ctl("forget", "oaid:p-10")
        self.assertEqual({key: value for key, value in self.dump().items()
                          if key[-1] != "f" or key in before}, before)
        self.ctl("consent", person, "--grant")
        self.ctl("audience", "add", person, "young")
        self.assertIn("segment young", self.ctl("person", person, "--segments", "young"))

    def dump(self):
        redis = self.redis()
        return {key: redis.command("DUMP", key.encode("latin-1"))
                for key in redis.command("KEYS", "*")}

    def test_usage(self):
        self.ctl("consent", "ifa:x", code=2)
        self.ctl("consent", "ifa:x", "--withdraw", "--grant", code=2)
        self.ctl("consent", "ifa:x", "--max-contacts", "70000", code=2)
        self.ctl("person", "no-type", code=2)
        self.ctl("forget", "ifa:0", code=2)
        self.assertIn("types are ifa oaid", self.ctl("forget", "ifaa:x", code=2))
        self.ctl("audience", "load", "/does/not/exist", "--segment", "s", code=2)
        self.ctl("audience", "fly", code=2)
        done = subprocess.run([str(harness.JOINTCAPCTL), "person", "ifa:x"],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              timeout=30, check=False, env={"PATH": os.environ["PATH"]})
        self.assertEqual(done.returncode, 2)
        self.assertIn("no secret", done.stderr)
        done = subprocess.run([str(harness.JOINTCAPCTL), "person", "ifa:x",
                               f"--secret-file={self.secret_file}", "--redis=unix:/does/not/exist"],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              timeout=30, check=False)
        self.assertEqual(done.returncode, 3)


class OnACluster(PersonCase):
    """Pipelines spread over the nodes; the slots are learned on the way."""

    def setUp(self):
        super().setUp()
        self.cluster = redis_cluster.Cluster(self.folder)
        self.addCleanup(self.cluster.stop)

    def command(self, name, *args):
        return [str(harness.JOINTCAPCTL), name, f"--redis={self.cluster.address}",
                f"--secret-file={self.secret_file}", *args]

    def test_load_link_forget(self):
        path = self.file("many.csv", "".join(f"oaid,p{i}\n" for i in range(5000)))
        said = self.ctl("audience", "load", path, "--segment", "s")
        self.assertIn("5000 written", said)
        sizes = [int(node.command("DBSIZE")) for node in self.cluster.masters()]
        self.assertEqual(sum(sizes), 5000)
        self.assertTrue(all(size > 1000 for size in sizes), sizes)
        links = self.file("links.csv", "oaid,p1,oaid,p2,oaid,p3\n")
        self.assertIn("1 rows linked, 0 bad", self.ctl("link", links))
        self.ctl("audience", "add", "oaid:p2", "t")
        self.assertIn("segment t", self.ctl("person", "oaid:p3", "--segments", "t"))
        self.assertIn("3 records deleted", self.ctl("forget", "oaid:p1"))
        # The others, and nothing of the three.
        self.assertEqual(sum(int(node.command("DBSIZE")) for node in self.cluster.masters()), 4997)


class Audiences(PersonCase):
    def test_load_and_count(self):
        seed = random.randrange(1 << 30)
        print(f"seed {seed}")
        dice = random.Random(seed)
        people = {f"p{i}": {s for s in ("a", "b", "c") if dice.random() < 0.4}
                  for i in range(5000)}
        rows = [f"oaid,{person},{segment}" for person, segments in people.items()
                for segment in segments]
        dice.shuffle(rows)
        path = self.file("all.csv", "type,id,segment\n" + "\n".join(rows) + "\noaid,,a\n")
        said = self.ctl("audience", "load", path, code=1)
        self.assertIn(f"{len(rows) + 1} rows: {len(rows)} written", said)
        self.assertIn("1 bad", said)
        self.assertFalse(pathlib.Path(path + ".state").exists())
        stored = [s for s in people.values() if s]
        for text, rule in (("a", lambda s: "a" in s),
                           ("a & b", lambda s: "a" in s and "b" in s),
                           ("a|b&!c", lambda s: "a" in s or ("b" in s and "c" not in s)),
                           ("(a | b) & !c", lambda s: s & {"a", "b"} and "c" not in s),
                           ("!(a|b)", lambda s: not s & {"a", "b"}),
                           ("never", lambda s: False)):
            wanted = sum(1 for s in stored if rule(s))
            said = self.ctl("audience", "count", text, "--sample", "0")
            self.assertIn(f"{wanted} ids match (all {len(stored)} stored profiles read)", said)
        # An estimate is an estimate: 6 standard deviations.
        said = self.ctl("audience", "count", "a", "--sample", "1500")
        guess = int(said.split()[1])
        wanted = sum(1 for s in stored if "a" in s)
        self.assertLess(abs(guess - wanted), 6 * (len(stored) ** 2 * 0.25 / 1500) ** 0.5, said)
        for text in ("", "a &", "(a", "a b", "a)", "!", "(" * 100 + "a" + ")" * 100):
            self.ctl("audience", "count", text, code=2)

    def test_expiry_per_segment(self):
        path = self.file("some.csv", "oaid,p1,1h\noaid,p2,\noaid,p3,90d\noaid,p4,soon\n")
        self.assertIn("some.csv:4: expires",
                      self.ctl("audience", "load", path, "--segment", "s", "--expires=10d", code=1))
        lives = sorted(self.redis().command("TTL", key.encode("latin-1"))
                       for key in self.redis().command("KEYS", "*"))
        hour, day = 3600, 86400
        for left, wanted in zip(lives, (hour, 10 * day, 90 * day)):  # to the full hour behind it
            self.assertTrue(wanted - 60 <= left <= wanted + hour, lives)
        # A shorter membership does not shorten the record.
        self.ctl("audience", "add", "oaid:p3", "t", "--expires", "1h")
        left = max(self.redis().command("TTL", key.encode("latin-1"))
                   for key in self.redis().command("KEYS", "*"))
        self.assertGreater(left, 89 * day)

    def test_resumes(self):
        count = 300000
        path = self.file("many.csv", "".join(f"oaid,person-{i}\n" for i in range(count)))
        state = pathlib.Path(path + ".state")
        redis = self.redis()
        process = subprocess.Popen(self.command("audience", "load", path, "--segment", "s"),
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        end = time.monotonic() + 60
        while not state.exists() and process.poll() is None and time.monotonic() < end:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        self.assertTrue(state.exists(), "it ended before it could be killed")
        stored = redis.command("DBSIZE")
        self.assertLess(stored, count)
        said = self.ctl("audience", "load", path, "--segment", "s")
        self.assertIn("going on behind row", said)
        written = int(said.split(" written")[0].split()[-1])
        self.assertLess(written, count)
        self.assertEqual(redis.command("DBSIZE"), count)
        self.assertFalse(state.exists())

    def test_redis_goes_away(self):
        path = self.file("many.csv", "".join(f"oaid,person-{i}\n" for i in range(50000)))
        redis = self.redis()
        redis.command("CONFIG", "SET", "maxmemory", "3mb")
        said = self.ctl("audience", "load", path, "--segment", "s", code=3)
        self.assertIn("OOM", said)
        redis.command("CONFIG", "SET", "maxmemory", "0")
        self.ctl("audience", "load", path, "--segment", "s")
        self.assertEqual(redis.command("DBSIZE"), 50000)


if __name__ == "__main__":
    unittest.main()
