"""GET / and its parts as bytes: what they say of themselves, how large they are, how a browser keeps them."""

import gzip
import re

import pytest
from endpoint import SOURCE, Endpoint, example


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory):
    with Endpoint([example("echo")], state=tmp_path_factory.mktemp("page") / "state",
                  env={"BULKHEAD_API_KEYS": "a=secret-secret-secret"}, ready=False) as endpoint:
        yield endpoint


def parts(endpoint):
    """The paths of everything that the page is made of, found as a browser finds it."""
    html = endpoint.get("/").body.decode()
    found = set(re.findall(r'(?:src|href)="(page/[^"]+)"', html))
    todo = {path for path in found if path.endswith(".js")}
    while todo:
        path = todo.pop()
        new = {f"page/{name}" for name in re.findall(r"from '\./([^']+)'", endpoint.get(f"/{path}").body.decode())} - found
        found |= new
        todo |= new
    return sorted(found)


def test_no_key_is_asked_for_and_nothing_is_missing(endpoint):
    for path in ["", *parts(endpoint)]:
        answer = endpoint.get(f"/{path}")
        assert answer.status == 200 and answer.body, path
        kinds = {"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml", "txt": "text/plain"}
        assert answer.headers["Content-Type"].split(";")[0] == kinds.get(path.rpartition(".")[2], "text/html")


def test_every_file_of_the_page_is_used(endpoint):
    assert {path.name for path in (SOURCE / "supervisor" / "http" / "page").iterdir()} - {"index.html"} \
        == {path.removeprefix("page/") for path in parts(endpoint)} - {"dygraphs.js", "dygraphs.license.txt"}


def test_it_is_small(endpoint):
    assert sum(len(endpoint.get(f"/{path}").body) for path in ["", *parts(endpoint)]) < 600_000


def test_what_it_plots_with_comes_with_its_licence(endpoint):
    assert b"Permission is hereby granted" in endpoint.get("/page/dygraphs.license.txt").body


def test_it_may_load_nothing_from_elsewhere(endpoint):
    for path in ["", *parts(endpoint)]:
        headers = endpoint.get(f"/{path}").headers
        policy = dict(rule.strip().split(" ", 1) for rule in headers["Content-Security-Policy"].split(";"))
        assert policy["default-src"] == "'none'" and policy["frame-ancestors"] == "'none'"
        assert set(policy.values()) == {"'none'", "'self'"}
        assert headers["X-Content-Type-Options"] == "nosniff" and headers["Referrer-Policy"] == "no-referrer"
    html = endpoint.get("/").body.decode()
    assert not re.search(r"""\b(style|on\w+)\s*=\s*["']|<style|<script(?![^>]*\bsrc=)""", html)
    assert not re.search(r"""(src|href)=["'](https?:)?//""", html)


def test_a_browser_asks_again_and_is_told_that_nothing_has_changed(endpoint):
    for path in ("/", "/page/app.js", "/page/dygraphs.js"):
        first = endpoint.get(path)
        assert first.headers["Cache-Control"] == "no-cache"
        again = endpoint.get(path, headers={"If-None-Match": f'"other", {first.headers["ETag"]}'})
        assert (again.status, again.body) == (304, b"") and again.headers["ETag"] == first.headers["ETag"]
        assert endpoint.get(path, headers={"If-None-Match": '"other"'}).status == 200


def test_it_is_sent_packed_to_those_who_take_that(endpoint):
    plain = endpoint.get("/page/dygraphs.js")
    assert "Content-Encoding" not in plain.headers and plain.headers["Vary"] == "Accept-Encoding"
    for accepts in ("gzip", "deflate, gzip;q=0.5, br", "GZIP"):
        packed = endpoint.get("/page/dygraphs.js", headers={"Accept-Encoding": accepts})
        assert packed.headers["Content-Encoding"] == "gzip" and gzip.decompress(packed.body) == plain.body
    for accepts in ("br", "gzip;q=0", "gzip; q=0.000, br", "gzipped"):
        answer = endpoint.get("/page/dygraphs.js", headers={"Accept-Encoding": accepts})
        assert "Content-Encoding" not in answer.headers and answer.body == plain.body


def test_another_sites_page_steers_nothing(endpoint, tmp_path):
    """A browser on this machine reaches an endpoint without keys, whatever page it shows."""
    clear = "/bulkhead/quarantine/clear"
    with Endpoint([example("echo")], state=tmp_path / "state") as keyless:
        for site, status in (("cross-site", 403), ("same-site", 403), ("same-origin", 200), ("none", 200)):
            assert keyless.post(clear, headers={"Sec-Fetch-Site": site}).status == status, site
        assert keyless.post(clear).status == 200
        assert keyless.get("/bulkhead/dead", headers={"Sec-Fetch-Site": "cross-site"}).status == 200
        here = f"{keyless.host}:{keyless.port}"
        for origin, status in (("http://evil.example", 403), ("null", 403), ("https://" + here + ".evil.example", 403),
                               ("http://" + here, 200)):
            for path in (clear, "/purge-queue", "/run"):
                assert keyless.post(path, {"input": 1}, headers={"Origin": origin}).status == status, (origin, path)
    with_key = {"Authorization": "Bearer secret-secret-secret", "Sec-Fetch-Site": "cross-site"}
    assert endpoint.post(clear, headers=with_key).status == 200


def test_a_name_of_somebody_elses_leads_nowhere(endpoint, tmp_path):
    """Whoever owns a name may let it lead to this machine: then their page and an endpoint without keys are one site."""
    names = {"evil.example": 421, "127.0.0.1.evil.example:8000": 421, "evil.example.": 421, "localhost": 200, "127.0.0.1": 200,
             "[::1]:8000": 200, "gpu-box": 200, "gpu-box.local:8000": 200, "app.localhost": 200, "localhost.": 200}
    with Endpoint([example("echo")], state=tmp_path / "state") as keyless:
        for name, status in names.items():
            assert keyless.get("/health", headers={"Host": name}).status == status, name
        assert keyless.get("/healthz/live", headers={"Host": "probes.example"}).status == 200
    with Endpoint([example("echo")], listen=f"unix:{tmp_path}/door", state=tmp_path / "state") as keyless:
        assert keyless.get("/health", headers={"Host": "evil.example"}).status == 200, "no browser comes by this way"
    key = {"Authorization": "Bearer secret-secret-secret"}
    assert endpoint.get("/health", headers={**key, "Host": "gpu.example"}).status == 200


def test_there_is_nothing_else(endpoint):
    for path in ("/page", "/page/", "/page/none.js", "/page/a/b.js", "/page/../etc/passwd", "/page/%2e%2e/x", "/page/app.js/"):
        assert endpoint.get(path, headers={"Authorization": "Bearer secret-secret-secret"}).status == 404, path
    assert endpoint.request("POST", "/", headers={"Authorization": "Bearer secret-secret-secret"}).status == 405
    head = endpoint.request("HEAD", "/")
    assert head.status == 200 and head.body == b"" and int(head.headers["Content-Length"]) == len(endpoint.get("/").body)


def luminance(colour):
    parts = [int(colour[at:at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_text_stands_out_from_what_is_behind_it(endpoint):
    """By 4.5 to 1, as WCAG wants it (AA), in light and in dark."""
    light, dark = (dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", part))
                   for part in endpoint.get("/page/base.css").body.decode().split("prefers-color-scheme: dark"))
    chips = [(name, f"{name}-back") for name in ("good", "busy", "waiting", "spare", "warn", "bad", "off")]
    texts = [(text, behind) for text in ("ink", "faint", "accent", "bad") for behind in ("card", "sunk")]
    for colours in (light, light | dark):
        for text, behind in [*chips, *texts, ("faint", "paper"), ("mark", "card"), ("warn", "sunk"), ("accent-ink", "accent")]:
            dim, bright = sorted((luminance(colours[text]), luminance(colours[behind])))
            assert (bright + 0.05) / (dim + 0.05) >= 4.5, (text, behind)
