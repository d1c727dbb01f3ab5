"""`weft circuits`: what an operator types when a host is down, or must not be called too often."""

from __future__ import annotations

from tests.process.conftest import Installation, Kept

TARGET = "https://api.example.com"


def test_a_limit_is_set_shown_and_removed(kept: Kept) -> None:
    weft = kept.installation.weft
    assert weft("circuits", "limit", TARGET + "/v1", "600/min", "--burst", "7").out == f"closed     {TARGET:40}  600/min (burst 7)\n"
    for command in (("circuits",), ("circuits", "list")):
        assert f"{TARGET:40}  600/min (burst 7)" in weft(*command).out
    assert "let through again" in weft("circuits", "reset", TARGET).out
    assert weft("circuits", "limit", TARGET, "none").code == 0
    assert "600/min" not in weft("circuits").out
    gone = weft("circuits", "limit", TARGET, "none")
    assert (gone.code, gone.out) == (1, "")
    assert "there is no rate limit" in gone.err


def test_what_is_no_target_or_rate_is_a_sentence_before_anything_starts(fresh: Installation) -> None:
    for arguments, words in (
        (("reset", "example.com"), "https://api.example.com"),
        (("limit", TARGET, "fast"), "600/min"),
        (("limit", TARGET, "none", "--burst", "3"), "--burst"),
        (("limit", TARGET), "rate"),
    ):
        done = fresh.weft("circuits", *arguments)
        assert words in done.err.lower()
        assert (done.code, done.out) == (2, "")
    assert not fresh.data_dir.exists()
