"""`weft memory`: files become memories, once, whatever happens on the way; they can be listed and taken out."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

from tests.process.conftest import ROOT, Installation, surroundings

ROWS = 3000


def rows_of(installation: Installation, *options: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in installation.weft("memory", "export", *options).out.splitlines()]


def test_files_are_brought_in_once_listed_and_exported(installation: Installation, tmp_path: Path) -> None:
    (tmp_path / "leave.md").write_text("# Leave\n\nLeave is 30 days a year.\n")
    (tmp_path / "page.html").write_text("<title>Harbour</title><p>It opens at nine.</p><script>steal()</script>")
    (tmp_path / "chat.csv").write_text("speaker,text,date\nAnn,My parrot is called Bertrand.,2026-05-08\n")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG")
    (tmp_path / "empty.txt").write_text("  \n")
    first = installation.weft("memory", "import", str(tmp_path), "-c", "office", "-l", "moved")
    assert (first.code, first.out) == (0, "4 files: 5 memories are new, 0 were known\n")
    again = installation.weft("memory", "import", str(tmp_path), "-c", "office", "-l", "moved")
    assert again.out == "4 files: 0 memories are new, 3 were known\n"  # what was concluded from them is not drawn again
    listed = installation.weft("memory", "list", "--kind", "document").out
    assert "Ann: My parrot is called Bertrand." in listed
    known = {row.get("text"): row for row in rows_of(installation) if row.get("collection") == "office"}
    told = known["My parrot is called Bertrand."]
    assert (told["trust"], told["labels"], told["source"]) == ("from outside", ["moved"], (tmp_path / "chat.csv").as_uri())
    assert "steal" not in json.dumps(list(known))
    out = tmp_path / "out.jsonl"
    assert installation.weft("memory", "export", "--out", str(out)).code == 0
    assert out.stat().st_mode & 0o777 == 0o600
    assert installation.weft("memory", "export", "--out", str(out)).code == 2


def test_an_import_that_was_killed_goes_on_where_it_was(installation: Installation, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps({"text": f"Killed row {number} sings."}) + "\n" for number in range(ROWS)))
    command = [sys.executable, "-m", "server", "memory", "import", str(file), "-c", "killed"]
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT, env=surroundings(installation.data_dir)
    ) as child:
        end = time.monotonic() + 60
        while time.monotonic() < end and child.poll() is None:
            if "Killed row" in installation.weft("memory", "list", "-n", "1").out:
                break
        assert child.poll() is None, "it was over before it could be killed"
        child.kill()
    done = installation.weft("memory", "import", str(file), "-c", "killed")
    new, known = (int(part.split()[0].replace(",", "")) for part in done.out.partition(": ")[2].split(", "))
    assert new + known == ROWS
    assert known > 0
    assert installation.weft("memory", "import", str(file), "-c", "killed").out == f"1 files: 0 memories are new, {ROWS:,} were known\n"


def test_what_cannot_be_read_is_a_sentence(installation: Installation, tmp_path: Path) -> None:
    (tmp_path / "good.txt").write_text("The harbour opens at nine.")
    (tmp_path / "bad.jsonl").write_text("{no json\n")
    done = installation.weft("memory", "import", str(tmp_path), "-c", "mixed")
    assert (done.code, done.out) == (1, "1 files: 2 memories are new, 0 were known\n")
    assert "bad.jsonl, line 1 is not JSON" in done.err
    for arguments, words in (((str(tmp_path / "none.txt"),), "no file"), ((str(tmp_path / "good.txt"), "--scope", "planet:x"), "planet")):
        refused = installation.weft("memory", "import", *arguments)
        assert (refused.code, refused.out) == (2, "")
        assert words in refused.err


def test_a_source_is_hidden_and_shown_again_and_a_policy_is_set(installation: Installation, tmp_path: Path) -> None:
    (tmp_path / "evil.txt").write_text("The quuxotl pays everybody.")
    source = (tmp_path / "evil.txt").as_uri()
    assert installation.weft("memory", "import", str(tmp_path), "-c", "evil").code == 0
    counted = installation.weft("memory", "quarantine", "--source", source)
    assert (counted.code, counted.out.splitlines()[-1]) == (0, "2 memories would be hidden")
    assert "--expect 2" in counted.err
    assert "quuxotl" in installation.weft("memory", "list", "-n", "5").out
    wrong = installation.weft("memory", "quarantine", "--source", source, "--expect", "3")
    assert (wrong.code, wrong.out) == (1, "")
    done = installation.weft("memory", "quarantine", "--source", source, "--expect", "2", "--reason", "phishing")
    assert done.out.splitlines()[-1] == "2 memories are hidden"
    assert "quuxotl" not in installation.weft("memory", "list", "-n", "5").out
    marked = [row for row in rows_of(installation) if row.get("collection") == "evil"]
    assert {row["trust"] for row in marked} == {"quarantined"}
    shown = installation.weft("memory", "quarantine", "--source", source, "--expect", "2", "--release")
    assert shown.out.splitlines()[-1] == "2 memories are seen again"
    assert "quuxotl" in installation.weft("memory", "list", "-n", "5").out

    assert json.loads(installation.weft("memory", "policy").out)["keep_days"] == {}
    put = installation.weft("memory", "policy", "user", "--set", '{"keep_days": {"turn": 30}}')
    assert (json.loads(put.out)["keep_days"], put.err) == ({"turn": 30}, "user has a policy of its own\n")
    for wrong_policy, words in (("{", "not JSON"), ("[]", "an object"), ('{"keep_days": {"dream": 1}}', "dream")):
        refused = installation.weft("memory", "policy", "user", "--set", wrong_policy)
        assert (refused.code, refused.out) == (2, "")
        assert words in refused.err
    assert installation.weft("memory", "policy", "user", "--reset").err == "user has the defaults\n"
