"""`weft agents`: profiles saved from files, listed and shown."""

from __future__ import annotations

from pathlib import Path

import yaml

from tests.process.conftest import Installation


def test_profiles_are_saved_from_files_and_shown_again(installation: Installation, tmp_path: Path) -> None:
    file = tmp_path / "helper.yaml"
    file.write_text("system: You help.\ntools:\n  - {node: http, name: look, config: {method: GET}}\n")
    first = installation.weft("agents", "save", "helper", str(file), "-d", "It helps.")
    assert (first.code, first.out) == (0, "helper@1\n")
    file.write_text("system: You help a lot.\n")
    assert installation.weft("agents", "save", "helper", str(file)).out == "helper@2\n"
    assert yaml.safe_load(installation.weft("agents", "show", "helper@1").out)["tools"][0]["name"] == "look"
    assert installation.weft("agents", "list").out.split()[0] == "helper@2"
    file.write_text("prompt: no profile has one\n")
    wrong = installation.weft("agents", "save", "helper", str(file))
    assert wrong.code == 2
    assert "/prompt" in wrong.err
