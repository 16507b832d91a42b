"""Prometheus' text format, read strictly enough for tests; and the table of docs/METRICS.md."""

import re

from endpoint import SOURCE

SAMPLE = re.compile(r'([a-zA-Z_:][\w:]*)(?:\{((?:\w+="(?:[^"\\]|\\.)*",?)*)\})? (\S+)')


class Metrics:
    """`families`: name -> type. `samples`: (name, labels as a frozenset of pairs) -> value."""

    def __init__(self, text):
        self.text = text
        self.families, self.helped, self.samples = {}, set(), {}
        for line in text.splitlines():
            if line.startswith("# HELP "):
                self.helped.add(line.split()[2])
            elif line.startswith("# TYPE "):
                _, _, name, kind = line.split()
                assert name not in self.families, f"{name} comes twice"
                self.families[name] = kind
            else:
                match = SAMPLE.fullmatch(line)
                assert match, line
                key = (match[1], frozenset(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', match[2] or "")))
                assert key not in self.samples, f"{key} comes twice"
                self.samples[key] = float(match[3])

    def __call__(self, name, **labels):
        return self.samples[name, frozenset(labels.items())]

    def sum(self, name, **labels):
        wanted = set(labels.items())
        return sum(value for (of, has), value in self.samples.items() if of == name and wanted <= has)

    def labels(self, family):
        names = {family, family + "_bucket"}
        return {label for (name, labels), _ in self.samples.items() if name in names for label, _ in labels}


def metrics_of(endpoint, path="/metrics", **more):
    answer = endpoint.get(path, **more)
    assert answer.status == 200, answer.body
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    return Metrics(answer.body.decode())


def documented():
    """name -> (type, labels), from the tables."""
    text = (SOURCE / "docs" / "METRICS.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (counter|gauge|histogram) \|([^|]*)\| .+ \|$", text, re.M)
    return {name: (kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}


# Where there is no device, or no platform, these are not there.
ONLY_WITH_GPU = {name for name in documented() if "_gpu_" in name}
ONLY_ON_PLATFORM = {"bulkhead_platform_calls_total"}
