"""What a batch asks of its process: files enough, or a word about it."""

import resource

import pytest

from agent.cli.process import allow_files


@pytest.fixture
def limits():
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield before
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_the_soft_limit_is_raised(limits):
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, limits[1]), limits[1]))
    allow_files(8, 10, 16)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert soft == min(hard, 65_536)


def test_too_few_files_are_told(limits):
    assert allow_files(2, 2, 4) == ""
    told = allow_files(1_000_000, 10, 4_000_000)
    assert "34,000,200" in told
    assert "--in-flight" in told
