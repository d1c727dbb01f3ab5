"""`weft memory`: files become memories, once, whatever happens on the way; they can be listed and taken out."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.process.conftest import ROOT, Installation, Kept, surroundings


def rows_of(installation: Installation, *options: str) -> list[dict[str, Any]]:
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
    known = {row.get("body"): row for row in rows_of(installation) if row.get("collection") == "office"}
    told = known["My parrot is called Bertrand."]
    assert (told["trust"], told["labels"], told["source"]) == (1, ["moved"], (tmp_path / "chat.csv").as_uri())
    assert "steal" not in json.dumps(list(known))
    out = tmp_path / "out.jsonl"
    assert installation.weft("memory", "export", "--out", str(out)).code == 0
    assert out.stat().st_mode & 0o777 == 0o600
    assert installation.weft("memory", "export", "--out", str(out)).code == 2


def lines_of(number: int) -> str:
    return "".join(json.dumps({"id": at, "text": f"Row {at} sings of the harbour and the {at % 7} ships."}) + "\n" for at in range(number))


def paragraphs(number: int) -> str:
    return "# Ships\n\n" + "".join(
        f"Paragraph {at}. " + f"Ship {at} sails to the harbour in the evening. " * 12 + "\n\n" for at in range(number)
    )


def killed(installation: Installation, file: Path, collection: str, after: int) -> int:
    """Imports until progress says that so many parts are done, and kills it there: how many it said; all when it was over before."""
    command = [sys.executable, "-m", "server", "memory", "import", str(file), "-c", collection]
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=surroundings(installation.data_dir)
    ) as child:
        assert child.stderr is not None
        for line in child.stderr:
            if (said := re.search(r": ([\d,]+) of ([\d,]+)$", line)) and (done := int(said[1].replace(",", ""))) >= after:
                child.kill()
                return done
    raise AssertionError("it was over before it could be killed")


@pytest.mark.parametrize(
    ("name", "number"), [("rows.jsonl", 1_000), ("book.md", 300), pytest.param("rows.jsonl", 10_000, marks=pytest.mark.long)]
)
def test_an_import_killed_again_and_again_brings_in_everything_once_with_its_vectors(
    kept: Kept, installation: Installation, tmp_path: Path, name: str, number: int
) -> None:
    file = tmp_path / name
    file.write_text(lines_of(number) if name.endswith("jsonl") else paragraphs(number))
    collection = f"killed-{name}-{number}"
    chance = random.Random(number)
    for _ in range(3):
        killed(installation, file, collection, chance.randrange(1, number * 8 // 10))
    done = installation.weft("memory", "import", str(file), "-c", collection)
    assert done.code == 0, done.err
    new, known = (int(part.split()[0].replace(",", "")) for part in done.out.partition(": ")[2].split(", "))
    with psycopg.connect(kept.postgres.admin_url) as admin:
        space = admin.execute("SELECT id FROM weft.memory_spaces WHERE state = 'active' AND collection IS NULL").fetchone()
        assert space
        counted = admin.execute(
            f"SELECT count(*), count(DISTINCT m.body), count(v.memory_id) FROM weft.memories m"
            f" LEFT JOIN weft.memory_vectors_{space[0]} v ON v.memory_id = m.id"
            f" WHERE m.collection = %s AND m.kind = 'chunk' AND m.retracted_at IS NULL".encode(),
            (collection,),
        ).fetchone()
    assert counted
    pieces = number if name.endswith("jsonl") else counted[0]
    assert counted == (pieces, pieces, pieces)
    assert pieces >= number
    assert 0 < new < pieces
    assert known
    again = installation.weft("memory", "import", str(file), "-c", collection).out
    assert again.startswith("1 files: 0 memories are new")
    assert "superseded" not in again


def bodies(kept: Kept, collection: str, *, live: bool = True) -> list[str]:
    with psycopg.connect(kept.postgres.admin_url) as admin:
        query = "SELECT m.body FROM weft.memories m WHERE m.collection = %s AND m.kind = 'chunk' AND (m.retracted_at IS NULL) = %s"
        return sorted(row[0] for row in admin.execute(query, (collection, live)).fetchall())


def test_what_a_file_says_now_takes_the_place_of_what_it_said(kept: Kept, installation: Installation, tmp_path: Path) -> None:
    file = tmp_path / "people.csv"
    head = "id,text,date\n"
    rows = ["1,Ann lives in Oslo.,2026-01-01", "2,Bob sails.,2026-01-01", "3,Bob sails.,2026-01-01", "4,Cid sings.,2026-01-01"]

    def bring(lines: list[str]) -> str:
        file.write_text(head + "\n".join(lines) + "\n")
        done = installation.weft("memory", "import", str(file), "-c", "people")
        assert done.code == 0, done.err
        return done.out.partition(": ")[2]

    assert bring(rows) == "4 memories are new, 0 were known\n"  # also the two that say the same
    assert bring(["0,Zoe is first.,2026-01-01", *rows]) == "1 memories are new, 4 were known\n"  # others have moved, that is all
    changed = [rows[0].replace("Oslo", "Bergen"), *rows[1:3]]
    assert bring(changed) == "1 memories are new, 2 were known, 3 are superseded\n"
    assert bodies(kept, "people") == ["Ann lives in Bergen.", "Bob sails.", "Bob sails."]
    assert bodies(kept, "people", live=False) == ["Ann lives in Oslo.", "Cid sings.", "Zoe is first."]
    assert bring(rows[:3]) == "1 memories are new, 2 were known, 1 are superseded\n"  # and back again
    page = tmp_path / "page.md"
    for text in ("# Leave\n\nLeave is 30 days.", "# Leave\n\nLeave is 25 days."):
        page.write_text(text)
        assert installation.weft("memory", "import", str(page), "-c", "leave").code == 0
    assert [text.split()[-2] for text in bodies(kept, "leave")] == ["25"]
    assert [text.split()[-2] for text in bodies(kept, "leave", live=False)] == ["30"]


def test_an_export_is_imported_into_another_installation(installation: Installation, fresh: Installation, tmp_path: Path) -> None:
    page, out = tmp_path / "page.md", tmp_path / "export.jsonl"
    page.write_text("# Ships\n\nThe Bertrand sails at nine.\n")
    assert installation.weft("memory", "import", str(page), "--scope", "agent:captain", "--origin", "user").code == 0
    done = installation.weft("memory", "export", "--scope", "agent:captain", "--out", str(out))
    assert done.err == "2 memories\n"
    assert fresh.weft("memory", "import", str(out)).out == "1 files: 2 memories are new, 0 were known\n"
    assert fresh.weft("memory", "import", str(out)).out == "1 files: 0 memories are new, 2 were known\n"
    head, *records, end = rows_of(fresh)
    assert (head["weft"], end) == ("memories", {"weft": "end", "memories": 2})
    assert {(row["kind"], row["trust"], row["source"]) for row in records} == {(kind, 3, page.as_uri()) for kind in ("document", "chunk")}
    assert next(scope for scope in head["scopes"] if scope["kind"] == "agent")["name"] == "captain"
    less = fresh.weft("memory", "import", str(out), "--scope", "organization", "--origin", "web")
    assert less.out == "1 files: 2 memories are new, 0 were known\n"
    assert {row["trust"] for row in rows_of(fresh, "--scope", "organization")[1:-1]} == {1}
    out.write_text(out.read_text().replace('"kind": "chunk"', '"kind": "dream"'))
    wrong = fresh.weft("memory", "import", str(out))
    assert (wrong.code, wrong.out) == (1, "0 files: 0 memories are new, 0 were known\n")
    assert "Line 3 is no memory" in wrong.err


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
    assert {row["trust"] for row in marked} == {0}
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
