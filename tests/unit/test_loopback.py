"""Places of one's own: a reserved ROS domain is nobody else's until its process ends, however it ends."""

import subprocess
import sys

import pytest

from core.errors import ConfigError
from regrasp.loopback import OWN_DOMAINS, own_domain

OTHER = """
import sys
from regrasp.loopback import own_domain
with own_domain() as domain:
    print(domain, flush=True)
    sys.stdin.read()
"""


def test_a_domain_is_given_once_until_it_is_given_back():
    with own_domain() as ours:
        assert ours in OWN_DOMAINS
        with pytest.raises(ConfigError, match="--domain"), own_domain(among=[ours]):
            pass
    with own_domain(among=[ours]) as again:
        assert again == ours


def test_what_another_process_reserved_is_free_again_when_it_was_killed():
    with subprocess.Popen([sys.executable, "-c", OTHER], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        theirs = int(other.stdout.readline())
        with pytest.raises(ConfigError, match=str(theirs)), own_domain(among=[theirs]):
            pass
        other.kill()
        other.wait()
    with own_domain(among=[theirs]) as again:
        assert again == theirs


def test_a_domain_that_was_chosen_is_used_as_it_is():
    with own_domain(0) as first, own_domain(0) as second:
        assert (first, second) == (0, 0)
