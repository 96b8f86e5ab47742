"""Who is shown what, and who sits at the machine."""

from __future__ import annotations

import pytest

from modules.domain.viewers import Viewer, is_at_the_machine, viewer_of


def test_an_account_is_shown_its_own_and_at_the_machine_what_has_no_owner() -> None:
    assert [Viewer("ann").sees(owner) for owner in ("ann", "", "bob")] == [True, False, False]
    assert [Viewer("ann", at_the_machine=True).sees(owner) for owner in ("ann", "", "bob")] == [True, True, False]
    assert [Viewer().sees(owner) for owner in ("ann", "", "bob")] == [True, True, True]


def test_a_request_that_no_door_was_passed_by_has_no_account() -> None:
    assert viewer_of(object()) == Viewer()


@pytest.mark.parametrize(
    ("address", "host", "forwarded", "expected"),
    [
        ("127.0.0.1", "localhost:7860", False, True),
        ("::1", "[::1]:7860", False, True),
        ("127.0.0.1", "abc.example.org", False, False),
        ("127.0.0.1", "127.0.0.1:7860", True, False),
        ("192.168.1.7", "localhost:7860", False, False),
        ("", "localhost", False, False),
    ],
)
def test_who_sits_at_the_machine(address: str, host: str, forwarded: bool, expected: bool) -> None:
    assert is_at_the_machine(address, host, forwarded=forwarded) is expected
