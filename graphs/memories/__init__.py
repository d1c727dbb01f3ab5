"""Operations on memories: remember, recall, forget, read, export, sum up, consolidate. Every door and every step calls these; none does
more."""

from graphs.memories.caring import Hidden, Kept, hide, policy, put_policy, release
from graphs.memories.consolidating import consolidate
from graphs.memories.embedding import embed, embedder_of, not_made, reembed
from graphs.memories.forgetting import Forgotten, Selection, count_forgotten, forget
from graphs.memories.reach import OWN, Access, access, in_step, parse_scope, readable, spelled
from graphs.memories.reading import LISTED, export, get, kinds, page, read
from graphs.memories.recalling import Found, Wanted, recall
from graphs.memories.summing import sum_up_conversation, sum_up_texts, sums
from graphs.memories.views import TRUSTED, forgotten_view, hit_view, memory_view, outcome_view, quoted
from graphs.memories.writing import (
    ORIGINS,
    Brought,
    Remembered,
    Remembrance,
    Restored,
    Source,
    bring_in,
    make_vectors,
    open_desk,
    remember,
    restore,
)

__all__ = [
    "LISTED", "ORIGINS", "OWN", "TRUSTED", "Access", "Brought", "Forgotten", "Found", "Hidden", "Kept", "Remembered", "Remembrance",
    "Restored", "Selection", "Source", "Wanted", "access", "bring_in", "consolidate", "count_forgotten", "embed", "embedder_of",
    "export", "forget", "forgotten_view", "get", "hide", "hit_view", "in_step", "kinds", "make_vectors", "memory_view", "not_made",
    "open_desk", "outcome_view", "page", "parse_scope", "policy", "put_policy", "quoted", "read", "readable", "recall", "reembed",
    "release", "remember", "restore", "spelled", "sum_up_conversation", "sum_up_texts", "sums",
]  # fmt: skip
