"""The endpoints that the files of this folder share: each file has its own, for all its tests."""

import pytest

from endpoint import Endpoint, example

QUICK = ["--cancel-grace", "300ms", "--term-grace", "300ms", "--grace", "100ms"]


@pytest.fixture(scope="module")
def echo(tmp_path_factory):
    with Endpoint([example("echo")], state=tmp_path_factory.mktemp("echo") / "state") as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    with Endpoint([example("crash_zoo")], *QUICK, state=tmp_path_factory.mktemp("zoo") / "state") as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def tokens(tmp_path_factory):
    with Endpoint([example("tokens")], "--workers", "2", "--grace", "100ms",
                  state=tmp_path_factory.mktemp("tokens") / "state") as endpoint:
        yield endpoint
