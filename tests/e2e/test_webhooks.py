"""The webhook of a job: sent at every end, until its receiver has it, whatever dies meanwhile."""

import hashlib
import hmac
import json
import signal
import sqlite3
import time
from contextlib import closing

import pytest

from endpoint import Endpoint, example, until
from receiver import Receiver

ECHO = [example("echo")]
ZOO = [example("crash_zoo")]
SOON = ["--webhook-pause", "20ms"]  # tries again after 20 ms, 40 ms … 1.2 s


@pytest.fixture
def receiver():
    with Receiver() as receiver:
        yield receiver


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    """A receiver on this machine is called without a proxy, whatever the environment says."""
    monkeypatch.setenv("no_proxy", "*")


def in_progress(endpoint, job):
    until(lambda: endpoint.get(f"/status/{job}").json["status"] == "IN_PROGRESS", what="its start")


def test_every_end_is_told_with_the_status_body(tmp_path, receiver):
    with Endpoint(ZOO, *SOON, state=tmp_path / "state") as endpoint:
        def run(job_input, **more):
            return endpoint.run(job_input, webhook=f"{receiver.url}/{job_input.get('name', job_input['do'])}", **more)

        s3 = {"accessId": "an-id", "accessSecret": "hush", "bucketName": "b", "endpointUrl": "http://s3"}
        jobs = {"ok": (run({"do": "ok", "value": {"ü": [1, "\n"]}}, s3Config=s3), "COMPLETED")}
        jobs["segfault"] = (run({"do": "segfault"}), "FAILED")
        jobs["throw"] = (run({"do": "throw", "type": "runtime_error", "message": "no"}), "FAILED")
        for name in ("ok", "segfault", "throw"):
            receiver.wait(path=f"/{name}")
        # One process: what comes behind the long one waits.
        jobs["running"] = (run({"do": "sleep_ms", "ms": 600_000, "name": "running"}), "CANCELLED")
        in_progress(endpoint, jobs["running"][0])
        jobs["expired"] = (run({"do": "ok", "name": "expired"}, policy={"ttl": 10_000}), "TIMED_OUT")
        jobs["queued"] = (run({"do": "ok", "name": "queued"}), "CANCELLED")
        assert endpoint.post(f"/cancel/{jobs['queued'][0]}").json["status"] == "CANCELLED"
        receiver.wait(path="/expired")
        jobs["purged"] = (run({"do": "ok", "name": "purged"}), "CANCELLED")
        assert endpoint.post("/purge-queue").json["removed"] == 1
        endpoint.post(f"/cancel/{jobs['running'][0]}")
        for name, (job, status) in jobs.items():
            (call,) = receiver.wait(path=f"/{name}")
            assert call.body == endpoint.get(f"/status/{job}").body, name
            assert (call.json["id"], call.json["status"]) == (job, status)
            assert call.headers["Content-Type"] == "application/json"
            assert call.headers["Bulkhead-Delivery"].startswith(job + ".") and call.headers["Bulkhead-Attempt"] == "1"
            assert call.headers["User-Agent"].startswith("Bulkhead/") and "Bulkhead-Signature" not in call.headers
            assert b"s3Config" not in call.body and b"hush" not in call.body
        assert len(receiver.calls) == len(jobs)


def test_a_synchronous_job_has_one_too_and_a_large_result_arrives_whole(tmp_path, receiver):
    with Endpoint(ECHO, "--durability", "memory", state=tmp_path / "state") as endpoint:
        state = endpoint.runsync({"n": 1}, webhook=f"{receiver.url}/sync")
        assert receiver.wait(path="/sync")[0].json == state
        job = endpoint.run("x" * 8_000_000, webhook=f"{receiver.url}/large")
        assert receiver.wait(path="/large")[0].body == endpoint.get(f"/status/{job}").body


def test_it_is_tried_again_until_it_is_taken(tmp_path):
    with Receiver([500, (503, {"Retry-After": "1"}), 404, 204]) as receiver, \
            Endpoint(ECHO, *SOON, state=tmp_path / "state") as endpoint:
        job = endpoint.run({"n": 1}, webhook=f"{receiver.url}/hook?key=hush")
        calls = receiver.wait(4)
        assert [call.headers["Bulkhead-Attempt"] for call in calls] == ["1", "2", "3", "4"]
        assert len({call.headers["Bulkhead-Delivery"] for call in calls}) == 1
        assert {call.body for call in calls} == {endpoint.get(f"/status/{job}").body}
        endpoint.wait_line(rf"webhooks to 127.0.0.1:{receiver.port} fail \(status 500\)")
        endpoint.wait_line(r"are taken again")
        assert not any("hush" in line for line in endpoint.lines)


def test_a_restarted_supervisor_delivers_what_its_predecessor_could_not(tmp_path):
    with Receiver(down=True) as receiver:
        options = [*SOON, "--keep-sync", "1s", "--orphan-timeout", "0"]
        with Endpoint(ZOO, *options, state=tmp_path / "state") as endpoint:
            done = endpoint.run({"do": "ok", "value": "done"}, webhook=f"{receiver.url}/done")
            failed = endpoint.run({"do": "segfault"}, webhook=f"{receiver.url}/failed")
            brief = endpoint.runsync({"do": "ok", "value": "brief"}, webhook=f"{receiver.url}/brief")["id"]
            endpoint.wait(failed)
            endpoint.wait_line("fail .*connect")
            cut_off = endpoint.run({"do": "report_and_hang"}, webhook=f"{receiver.url}/cut-off")
            # In progress is not enough: a job handed out and not begun would run again.
            until(lambda: endpoint.get(f"/status/{cut_off}").json.get("output") == "hanging", 60, "the job's first word")
            endpoint.stop(signal.SIGKILL)
        with closing(sqlite3.connect(tmp_path / "state" / "journal.db")) as journal:
            find = "SELECT expires_ms FROM outcomes JOIN jobs USING (key) WHERE id = ?"
            [expires_ms] = journal.execute(find, [brief]).fetchone()
        until(lambda: time.time() * 1000 > expires_ms, 60, "the end of the brief one's retention; its webhook goes on")
        with Endpoint(ZOO, *options, state=tmp_path / "state") as endpoint:
            endpoint.wait_line("fail .*connect")
            receiver.up()
            for job, name in ((done, "done"), (failed, "failed"), (cut_off, "cut-off")):
                assert receiver.wait(path=f"/{name}")[0].body == endpoint.get(f"/status/{job}").body
            assert receiver.wait(path="/brief")[0].json["output"] == "brief"
            assert endpoint.stop() == 0
        with Endpoint(ZOO, *options, state=tmp_path / "state") as endpoint:
            endpoint.run({"do": "ok"}, webhook=f"{receiver.url}/last")
            receiver.wait(path="/last")
        assert sorted(call.path for call in receiver.calls) == ["/brief", "/cut-off", "/done", "/failed", "/last"]


def verify(secret, call, tolerance=300):
    """As docs/WEBHOOKS.md shows it."""
    fields = dict(part.split("=", 1) for part in call.headers["Bulkhead-Signature"].split(","))
    wanted = hmac.new(secret, fields["t"].encode() + b"." + call.body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(wanted, fields["v1"]) and abs(time.time() - int(fields["t"])) <= tolerance


@pytest.mark.parametrize("where", ["file", "environment"])
def test_it_is_signed_with_the_secret(tmp_path, receiver, where):
    secret = b"a secret of more than sixty-four bytes, which is what makes a key be hashed first"
    (tmp_path / "secret").write_bytes(secret + b"\n")
    options = ["--webhook-secret-file", str(tmp_path / "secret")] if where == "file" else []
    env = {"BULKHEAD_WEBHOOK_SECRET": secret.decode()} if where == "environment" else {}
    with Endpoint(ECHO, *options, state=tmp_path / "state", env=env) as endpoint:
        endpoint.run({"n": 1}, webhook=receiver.url)
        (call,) = receiver.wait()
        assert verify(secret, call) and not verify(b"another", call)
        assert not any("sixty-four" in line for line in endpoint.lines)


def test_it_is_given_up_in_the_end_and_said_once(tmp_path):
    with Receiver([500]) as receiver:
        with Endpoint(ECHO, "--webhook-pause", "10ms", "--webhook-tries", "3", state=tmp_path / "state") as endpoint:
            url = f"http://user:hush@127.0.0.1:{receiver.port}/hook?key=hush"
            job = endpoint.run({"n": 1}, webhook=url)
            endpoint.wait_line(rf"(?=.*{job}).*webhook to 127.0.0.1:{receiver.port} was not delivered: status 500.* 3 tries")
            receiver.answers = [410]
            gone = endpoint.run({"n": 1}, webhook=url)
            endpoint.wait_line(rf"(?=.*{gone}).*not delivered: status 410")
            assert endpoint.stop() == 0
            assert sum("not delivered" in line for line in endpoint.lines) == 2
            assert not any("hush" in line for line in endpoint.lines)
        receiver.answers = [200]
        with Endpoint(ECHO, state=tmp_path / "state") as endpoint:
            endpoint.run({"n": 1}, webhook=f"{receiver.url}/last")
            receiver.wait(path="/last")
        assert len(receiver.calls) == 3 + 1 + 1


def test_a_hanging_receiver_holds_up_nobody(tmp_path):
    with Receiver() as hanging, Receiver() as well:
        with Endpoint(ECHO, state=tmp_path / "state") as endpoint:
            stuck = [endpoint.run(i, webhook=f"{hanging.url}/hang") for i in range(20)]
            hanging.wait(16)
            for i in range(5):
                endpoint.run(i, webhook=f"{well.url}/{i}")
            well.wait(5)
            assert len(hanging.calls) == 16  # places for one receiver
            assert all(endpoint.wait(job)["status"] == "COMPLETED" for job in stuck)
            began = time.monotonic()
            assert endpoint.stop(timeout=60.0) == 0
            assert time.monotonic() - began < 25  # that of a try is 30 s
            endpoint.wait_line("20 webhooks are left for the next start")
        hanging.release()
        with Endpoint(ECHO, state=tmp_path / "state") as endpoint:
            until(lambda: {call.json["id"] for call in list(hanging.calls)[16:]} == set(stuck), 60, "all of them")


def test_redirects_are_followed_with_the_body_and_not_for_ever(tmp_path):
    with Receiver([(302, {"Location": "/there"}), 200]) as receiver:
        with Endpoint(ECHO, "--webhook-pause", "10ms", "--webhook-tries", "2", state=tmp_path / "state") as endpoint:
            endpoint.run({"n": 1}, webhook=f"{receiver.url}/here")
            here, there = receiver.wait(2)
            assert (here.path, there.path) == ("/here", "/there") and there.body == here.body
            receiver.answers = [(307, {"Location": "/round"})]
            job = endpoint.run({"n": 1}, webhook=f"{receiver.url}/round")
            endpoint.wait_line(rf"(?=.*{job}).*not delivered")
            assert len(receiver.to("/round")) == 2 * 4
            receiver.answers = [(307, {"Location": "ftp://127.0.0.1/x"})]
            job = endpoint.run({"n": 1}, webhook=f"{receiver.url}/away")
            endpoint.wait_line(rf"(?=.*{job}).*not delivered")


def test_a_receiver_that_never_answers_is_tried_again(tmp_path):
    with Receiver() as receiver:
        with Endpoint(ECHO, *SOON, "--webhook-timeout", "300ms", state=tmp_path / "state") as endpoint:
            endpoint.run({"n": 1}, webhook=f"{receiver.url}/hang")
            receiver.wait(2)
            receiver.release()
            endpoint.wait_line("are taken again")


def test_a_retried_job_is_told_of_once_by_its_last_end(tmp_path):
    with Receiver(down=True) as receiver, Endpoint(ZOO, *SOON, state=tmp_path / "state") as endpoint:
        job = endpoint.run({"do": "throw", "type": "int"}, webhook=f"{receiver.url}/hook")
        assert endpoint.wait(job)["status"] == "FAILED"
        assert endpoint.post(f"/retry/{job}").json == {"id": job, "status": "IN_QUEUE"}
        assert endpoint.wait(job)["status"] == "FAILED"
        receiver.up()
        assert receiver.wait()[0].body == endpoint.get(f"/status/{job}").body
        endpoint.run({"do": "ok"}, webhook=f"{receiver.url}/last")
        receiver.wait(path="/last")
        assert len(receiver.to("/hook")) == 1


@pytest.mark.parametrize("webhook", ["ftp://example.org/", "example.org", "http://", "http:///x", "http://a b/", 7,
                                     "http://a\r\nX: y/", "http://a:99999/", "http://ü/", "https://a/" + "x" * 4096])
def test_what_is_no_url_is_refused(refusing, webhook):
    answer = refusing.post("/run", {"input": 1, "webhook": webhook})
    assert answer.status == 400 and "webhook" in json.dumps(answer.json["error"]), answer.body


@pytest.fixture(scope="module")
def refusing(tmp_path_factory):
    with Endpoint(ECHO, state=tmp_path_factory.mktemp("refusing") / "state") as endpoint:
        yield endpoint
