"""The asyncio client of the official `runpod` package against `bulkhead serve`: nothing but its base URL is changed."""

import asyncio
import functools

import pytest
import runpod
from runpod import AsyncioEndpoint, AsyncioJob
from runpod.http_client import AsyncClientSession

from endpoint import Endpoint, example

SLOW = 120  # seconds: a bound for what takes a moment
TEXT = "so that a leak in one would not sink her"


def in_a_loop(test):
    """Runs a test that is a coroutine."""
    @functools.wraps(test)
    def run(*arguments, **named):
        asyncio.run(asyncio.wait_for(test(*arguments, **named), 4 * SLOW))
    return run


def point_at(endpoint, api_key="any-key"):
    runpod.endpoint_url_base = f"http://{endpoint.host}:{endpoint.port}/v2"
    runpod.api_key = api_key


async def wait_for(job, *states):
    for _ in range(SLOW * 20):
        # A Job remembers no state that is not final.
        if await job.status() in states:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"{job.job_id} did not become one of {states}")


@in_a_loop
async def test_run_status_output(echo):
    point_at(echo)
    async with AsyncClientSession() as session:
        job = await AsyncioEndpoint("my-endpoint", session).run({"prompt": "héllo"})
        assert isinstance(job, AsyncioJob)
        assert job.headers["X-Request-ID"] == job.job_id  # sent with every call about this job
        assert await job.output(timeout=SLOW) == {"prompt": "héllo"}
        assert await job.status() == "COMPLETED"
        assert await job.output() == {"prompt": "héllo"}


@in_a_loop
async def test_many_jobs_at_once(echo):
    point_at(echo)
    async with AsyncClientSession() as session:
        user = AsyncioEndpoint("my-endpoint", session)
        jobs = await asyncio.gather(*(user.run({"n": n}) for n in range(100)))
        outputs = await asyncio.gather(*(job.output(timeout=SLOW) for job in jobs))
        assert outputs == [{"n": n} for n in range(100)]


@in_a_loop
async def test_output_gives_up_at_its_timeout(zoo):
    point_at(zoo)
    async with AsyncClientSession() as session:
        job = await AsyncioEndpoint("my-endpoint", session).run({"do": "sleep_ms", "ms": 60_000})
        with pytest.raises(TimeoutError):
            await job.output(timeout=1)
        await job.cancel()


@in_a_loop
async def test_a_crash_is_a_failed_job(zoo):
    point_at(zoo)
    async with AsyncClientSession() as session:
        user = AsyncioEndpoint("my-endpoint", session)
        job = await user.run({"do": "segfault"})
        await wait_for(job, "FAILED")
        assert await job.output(timeout=SLOW) is None
        assert await (await user.run({"do": "ok", "value": 5})).output(timeout=SLOW) == 5


@in_a_loop
async def test_stream(tmp_path):
    with Endpoint([example("tokens")], state=tmp_path / "state") as endpoint:
        point_at(endpoint)
        async with AsyncClientSession() as session:
            user = AsyncioEndpoint("my-endpoint", session)
            slow = await user.run({"text": TEXT, "delay_ms": 300})
            assert [word async for word in slow.stream()] == TEXT.split()
            quick = await user.run({"text": TEXT, "repeat": 50})
            await wait_for(quick, "COMPLETED")
            assert [word async for word in quick.stream()] == TEXT.split() * 50
            assert [word async for word in quick.stream()] == []


@in_a_loop
async def test_cancel_purge_health(zoo):
    point_at(zoo)
    async with AsyncClientSession() as session:
        user = AsyncioEndpoint("my-endpoint", session)
        running = await user.run({"do": "sleep_ms", "ms": 60_000})
        await wait_for(running, "IN_PROGRESS")
        queued = [await user.run({"do": "ok"}) for _ in range(3)]
        assert await queued[0].cancel() == {"id": queued[0].job_id, "status": "CANCELLED"}
        assert await user.purge_queue() == {"removed": 2, "status": "completed"}
        assert [await job.status() for job in queued] == ["CANCELLED"] * 3
        health = await user.health()
        assert health["jobs"]["inProgress"] == 1 and health["jobs"]["inQueue"] == 0
        assert set(health["workers"]) == {"idle", "initializing", "ready", "running", "throttled", "unhealthy"}
        assert await running.cancel() == {"id": running.job_id, "status": "CANCELLED"}
        assert await running.output(timeout=SLOW) is None


@in_a_loop
async def test_keys(tmp_path):
    with Endpoint([example("echo")], env={"BULKHEAD_API_KEYS": "me=sesame,you=pumpkin"}, ready=False,
                  state=tmp_path / "state") as endpoint:
        point_at(endpoint, "sesame")
        async with AsyncClientSession() as session:
            job = await AsyncioEndpoint("my-endpoint", session).run({"a": 1})
            assert await job.output(timeout=SLOW) == {"a": 1}
            other = AsyncioEndpoint("my-endpoint", session, api_key="pumpkin")
            assert "workers" in await other.health()
            stranger = AsyncioEndpoint("my-endpoint", session, api_key="open")
            assert (await stranger.health())["error"]["code"] == "unauthorized"
            with pytest.raises(KeyError):  # the package's own way of saying that there is no id in the answer
                await stranger.run({"a": 2})
