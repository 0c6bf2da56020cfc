"""What deploy/ ships: Redis starts with the settings promised, and the demo shows what it says."""
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "bench"))

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
