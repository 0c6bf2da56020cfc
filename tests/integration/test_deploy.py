"""What deploy/ ships: Redis starts with the settings promised, and the demo shows what it says."""
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "bench"))

sys.path.insert(0, str(ROOT / "tests"))

import check_metrics  # noqa: E402
import harness  # noqa: E402
import servers  # noqa: E402


class RedisTest(unittest.TestCase):
    def test_it_starts_private_and_durable(self):
        with tempfile.TemporaryDirectory() as folder:
            with servers.Redis(pathlib.Path(folder) / "redis", core=0) as redis:
                settings = {"port": "0", "appendonly": "yes", "appendfsync": "everysec",
                            "save": "", "maxmemory-policy": "noeviction", "unixsocketperm": "770",
                            "hash-max-listpack-entries": "512", "hash-max-listpack-value": "64"}
                for name, value in settings.items():
                    with self.subTest(name):
                        self.assertEqual(redis.config(name), value)
                self.assertEqual(redis.command("SET", "a", "b"), "OK")
                self.assertEqual(redis.socket.stat().st_mode & 0o777, 0o770)
                pid = redis.pid
            self.assertFalse(pathlib.Path(f"/proc/{pid}").exists())

    def test_a_person_stays_in_one_packed_block(self):
        with tempfile.TemporaryDirectory() as folder:
            with servers.Redis(pathlib.Path(folder) / "redis", core=0) as redis:
                for field in range(100):
                    redis.command("HSET", "person", f"f{field}", "1")
                self.assertEqual(redis.command("OBJECT", "ENCODING", "person"), "listpack")


class DemoTest(unittest.TestCase):
    def test_it_shows_what_it_says(self):
        done = subprocess.run([sys.executable, ROOT / "deploy/demo.py", "--any-port"],
                              env={**os.environ, "JOINTCAP_VARIANT": "asan"}, capture_output=True,
                              text=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        parts = re.split(r"\n(?=\S)", done.stdout)
        shown = {title.split("\n")[0]: title for title in parts}

        def part(start):
            return next(text for title, text in shown.items() if title.startswith(start))

        brands = [re.search(r"campaign (\S+),", part(start)).group(1)
                  for start in ("A guaranteed", "The same person")]
        self.assertEqual(len(set(brands)), 2, brands)
        for start in ("A guaranteed", "The same person"):
            self.assertIn("bid 25 CNY CPM on deal PDB-2026-IQ-001", part(start))
            self.assertIn("VAST", part(start))
        self.assertIn("bid 12 CNY", part("A banner"))
        self.assertIn("native", part("A native"))
        self.assertIn("because: advertiser_blocked", part("The publisher blocks"))
        self.assertIn("because: below_floor", part("A floor"))
        self.assertIn("400", part("A body that is cut off"))
        self.assertRegex(part("The first ad is shown"), r"settled 1|adopted 1")
        self.assertIn("duplicate", part("The first ad is shown"))
        self.assertIn("advertiser_blocked", part("jointcapctl explain"))
        folder = re.search(r"event logs: (\S+)", done.stdout).group(1)
        self.assertFalse(pathlib.Path(folder).exists())


class MetricsTest(harness.Case):
    def test_a_running_bidder_shows_the_metrics_that_deploy_names(self):
        jointcap = self.jointcap()
        shown = set(re.findall(r"^# TYPE (jointcap_\w+)", jointcap.get("/metrics", admin=True)[2]
                               .decode(), re.M))
        tables = {name for name, (_, label, _) in check_metrics.defined().items()
                  if ", " not in label}  # matrices have no rows before the first request
        self.assertEqual(tables - shown, set())
        self.assertEqual({name for name in shown if name.startswith("jointcap_")}
                         - set(check_metrics.defined()), set())


class ComposeTest(unittest.TestCase):
    def test_files_that_are_mounted_or_copied_exist(self):
        compose = (ROOT / "deploy/compose.yml").read_text()
        for name in re.findall(r"- \./([\w.-]+):", compose):
            self.assertTrue((ROOT / "deploy" / name).exists(), name)
        docker = (ROOT / "deploy/Dockerfile").read_text()
        for line in re.findall(r"^COPY (?!--from)(.*)", docker, re.M):
            for name in line.split()[:-1]:
                self.assertTrue((ROOT / name).exists(), name)
        options = (ROOT / "bidder/config.h").read_text()
        for name in re.findall(r"JOINTCAP_([A-Z_]+)[=:]", docker + compose):
            self.assertIn(f'"{name.lower()}"', options)


if __name__ == "__main__":
    unittest.main()
