"""jointcapctl against a real bidder: check, load, show, explain; and what it says when things are
wrong."""
import copy
import json
import os
import pathlib
import subprocess

import catalogs
from harness import CATALOG, JOINTCAPCTL, TOKEN, WAIT_SECONDS, Case


def ctl(*arguments, env=None, text=None):
    environment = {key: value for key, value in os.environ.items()
                   if not key.startswith("JOINTCAP_ADMIN")}
    environment.update(env or {})
    return subprocess.run([JOINTCAPCTL, *map(str, arguments)], input=text, capture_output=True,
                          text=True, timeout=WAIT_SECONDS, env=environment, check=False)


class Commands(Case):
    def test_overview_help_and_version(self):
        overview = ctl("help")
        self.assertEqual(overview.returncode, 0)
        for name in ("check", "load", "show", "schema", "explain"):
            self.assertIn(f"\n  {name} ", overview.stdout)
            for done in (ctl(name, "--help"), ctl("help", name), ctl(name, "-h", "x", "y")):
                self.assertEqual((done.returncode, done.stderr), (0, ""))
                self.assertTrue(done.stdout.startswith(f"Usage: jointcapctl {name}"), done.stdout)
        self.assertRegex(ctl("version").stdout, r"^jointcapctl \S+\n$")

    def test_wrong_usage(self):
        for arguments, said in (((), "Usage:"), (("chek", "x"), 'did you mean "check"?'),
                                (("check",), "needs FILE"), (("check", "a", "b"), "b"),
                                (("check", "--jsno", "a"), "did you mean --json?"),
                                (("explain", "x", "--exchange"), "a value is missing"),
                                (("check", "/nowhere/c.json"), "No such file"),
                                (("help", "nothing"), 'no command "nothing"')):
            done = ctl(*arguments)
            self.assertEqual(done.returncode, 2, done)
            self.assertEqual(done.stdout, "")
            self.assertIn(said, done.stderr)

    def test_check(self):
        good = ctl("check", CATALOG)
        self.assertEqual((good.returncode, good.stderr), (0, ""))
        self.assertIn("12 line items", good.stdout)
        bad = json.loads(CATALOG.read_text())
        bad["deals"][0]["exchange"] = "iqyi"
        done = ctl("check", "-", text=json.dumps(bad, indent=1))
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertRegex(done.stderr, r'^-:\d+:\d+: error: /deals/0/exchange: there is no exchange '
                                      r'"iqyi"; did you mean "iqiyi"\?\n')
        self.assertTrue(done.stderr.endswith("-: 1 error\n"), done.stderr)
        listed = ctl("check", "--json", "-", text=json.dumps(bad))
        self.assertEqual(listed.returncode, 1)
        problems = json.loads(listed.stdout)
        self.assertEqual(problems["errors"], 1)
        self.assertEqual(problems["problems"][0]["pointer"], "/deals/0/exchange")
        warned = json.loads(CATALOG.read_text())
        warned["creatives"].append(dict(warned["creatives"][0], id="spare"))
        done = ctl("check", "-", text=json.dumps(warned))
        self.assertEqual(done.returncode, 0)
        self.assertIn("warning: /creatives/13/id: no line item or deal uses this creative",
                      done.stderr)


class Running(Case):
    def test_load_show_explain(self):
        bidder = self.jointcap()
        admin = f"--admin={bidder.admin_host}:{bidder.admin_port}"
        token = pathlib.Path(self.folder, "token")
        token.write_text(TOKEN + "\n")
        file = pathlib.Path(self.folder, "catalog.json")

        mine = catalogs.catalog()
        file.write_text(json.dumps(mine))
        refused = ctl("load", file, admin)
        self.assertEqual(refused.returncode, 1, refused)
        self.assertIn("admin token", refused.stderr)
        self.assertEqual(ctl("load", file, admin, env={"JOINTCAP_ADMIN_TOKEN": "no"}).returncode, 1)
        self.assertNotIn("red-rtb", ctl("show", admin).stdout)

        done = ctl("load", file, admin, "--token-file", token)
        self.assertEqual((done.returncode, done.stdout), (0, f"{file}: loaded\n"), done)
        shown = ctl("show", env={"JOINTCAP_ADMIN": admin.removeprefix("--admin=")})
        self.assertEqual(shown.returncode, 0, shown)
        self.assertIsInstance(json.loads(shown.stdout), dict)

        bad = copy.deepcopy(mine)
        bad["campaigns"][0]["strat"] = bad["campaigns"][0].pop("start")
        file.write_text(json.dumps(bad, indent=1))
        done = ctl("load", file, admin, "--token-file", token)
        self.assertEqual((done.returncode, done.stdout), (1, ""), done)
        self.assertRegex(done.stderr, rf'{file}:\d+:\d+: error: /campaigns/0/strat: unknown field '
                                      r'"strat"; did you mean "start"\?')
        self.assertIn("the catalog in use stays", done.stderr)
        self.assertEqual(ctl("show", admin).stdout, shown.stdout)

        request = pathlib.Path(self.folder, "request.json")
        request.write_text(json.dumps({
            "id": "r", "imp": [{"id": "1", "banner": {"w": 300, "h": 250}}], "cur": ["CNY"],
            "site": {"domain": "site.example"}}))
        told = ctl("explain", request, "--exchange", "x", admin, "--token-file", token)
        self.assertEqual((told.returncode, told.stderr), (0, ""), told)
        for line in ("red-pdb", "red-rtb", "green-native"):
            self.assertIn(line, told.stdout)
        other = ctl("explain", request, "--exchange", "a b&c", admin, "--token-file", token)
        self.assertEqual(other.returncode, 1, other)

        bidder.stop()
        gone = ctl("show", admin)
        self.assertEqual((gone.returncode, gone.stdout), (3, ""))
        self.assertIn("Connection refused", gone.stderr)
