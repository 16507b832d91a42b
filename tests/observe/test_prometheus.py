"""A real Prometheus before a loaded endpoint: what it makes of the metrics, and of the alerts that are shipped."""

import json
import os
import shutil
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import pytest
from endpoint import SOURCE, Endpoint, example, until
from exposition import ONLY_ON_PLATFORM, ONLY_WITH_GPU, documented, metrics_of

OWN = Path(__file__).parent / ".prometheus"
SCRAPES = int(os.environ.get("BULKHEAD_TEST_SCRAPES", "10"))  # one a second
KEY = "scraper-scraper-scraper"


def program(name):
    found = shutil.which(name, path=f"{OWN}:{os.environ['PATH']}")
    if not found:
        pytest.skip(f"there is no {name} here: script/bootstrap test puts it into {OWN}")
    return found


def promtool(*arguments, **more):
    return subprocess.run([program("promtool"), *arguments], capture_output=True, text=True, timeout=120, **more)


def test_promtool_finds_nothing_to_say_of_the_metrics(tmp_path):
    with Endpoint([example("crash_zoo")], "--spares", "1", state=tmp_path / "state") as endpoint:
        endpoint.runsync({"do": "segfault"})
        done = promtool("check", "metrics", input=metrics_of(endpoint).text)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_rules_and_the_scrape_configuration_are_valid():
    for check, name in (("rules", "prometheus-alerts.yml"), ("config", "prometheus.yml")):
        done = promtool("check", check, str(SOURCE / "systemd" / name))
        assert done.returncode == 0, done.stdout + done.stderr


class Prometheus:
    def __init__(self, directory, endpoint):
        config = (SOURCE / "systemd" / "prometheus.yml").read_text()
        config = config.replace("127.0.0.1:8000", f"127.0.0.1:{endpoint.port}").replace("scrape_interval: 15s", "scrape_interval: 1s")
        for line in ("authorization:", "  credentials_file: /etc/prometheus/bulkhead.key"):
            assert f"# {line}" in config
            config = config.replace(f"# {line}", line.replace("/etc/prometheus/bulkhead.key", f"{directory}/key"))
        directory.mkdir()
        (directory / "key").write_text(KEY)
        (directory / "prometheus.yml").write_text("global: {evaluation_interval: 1s}\n" + config)
        shutil.copy(SOURCE / "systemd" / "prometheus-alerts.yml", directory)
        self.log = open(directory / "log", "w+")
        self.process = subprocess.Popen(
            [program("prometheus"), f"--config.file={directory}/prometheus.yml", f"--storage.tsdb.path={directory}/data",
             "--web.listen-address=127.0.0.1:0", "--log.level=info"], stderr=self.log, stdout=self.log, cwd=directory)
        self.pid = self.process.pid

    def address(self):
        """It does not say which port it took: the kernel does."""
        inodes = set()
        for entry in os.listdir(f"/proc/{self.pid}/fd"):
            try:
                link = os.readlink(f"/proc/{self.pid}/fd/{entry}")
            except OSError:
                continue
            if link.startswith("socket:["):
                inodes.add(link[8:-1])
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                return f"http://127.0.0.1:{int(fields[1].split(':')[1], 16)}"
        assert self.process.poll() is None, Path(self.log.name).read_text()
        return None

    def ask(self, path, **query):
        url = f"{self.base}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=60) as answer:
            return json.load(answer)["data"]

    def __enter__(self):
        try:
            self.base = until(self.address, 60, "Prometheus' port")
            until(self.ready, 60, "Prometheus")
        except BaseException:
            self.__exit__()
            raise
        return self

    def ready(self):
        try:
            return urllib.request.urlopen(f"{self.base}/-/ready", timeout=60).close() or True
        except urllib.error.HTTPError:
            return False

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(60)
        self.log.close()


def test_a_prometheus_that_scrapes_a_loaded_endpoint(tmp_path):
    program("prometheus")
    with Endpoint([example("crash_zoo")], "--workers", "2", state=tmp_path / "state", ready=False,
                  env={"BULKHEAD_API_KEYS": f"prometheus={KEY}"}) as endpoint, Prometheus(tmp_path / "prometheus", endpoint) as prometheus:
        over = threading.Event()

        def load():
            key = {"Authorization": KEY}
            for number in range(1_000_000):
                if over.is_set():
                    return
                endpoint.post("/runsync", {"input": {"do": "segfault" if number % 200 == 50 else "ok"}}, headers=key)
                time.sleep(0.005)
        thread = threading.Thread(target=load)
        thread.start()
        try:
            def scraped():
                counts = prometheus.ask("query", query="count_over_time(bulkhead_jobs_total{outcome='completed'}[10m])")["result"]
                return counts and float(counts[0]["value"][1]) >= SCRAPES
            until(scraped, 120 + 3 * SCRAPES, f"{SCRAPES} scrapes")
            target = prometheus.ask("targets")["activeTargets"][0]
            assert target["health"] == "up" and not target["lastError"]
            for name, (kind, _) in documented().items():
                if name in ONLY_ON_PLATFORM | ONLY_WITH_GPU:
                    continue
                series = name + ("_bucket" if kind == "histogram" else "")
                assert prometheus.ask("query", query=series)["result"], f"{name} is not there"
                metadata = prometheus.ask("targets/metadata", metric=name)
                assert metadata and metadata[0]["type"] == kind and metadata[0]["help"]
            rate = until(lambda: prometheus.ask("query", query="sum(rate(bulkhead_jobs_total[1m]))")["result"], 60, "a rate")
            assert float(rate[0]["value"][1]) > 0
            rules = until(lambda: (found := prometheus.ask("rules")["groups"][0]["rules"]) and
                          all(rule["health"] != "unknown" for rule in found) and found, 60, "the rules' evaluation")
            assert len(rules) == 12
            assert {rule["name"]: (rule["health"], rule.get("lastError", "")) for rule in rules} == {
                rule["name"]: ("ok", "") for rule in rules}
        finally:
            over.set()
            thread.join(60)
