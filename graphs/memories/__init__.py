"""Operations on memories: remember, recall, forget, read, list, export. Every door and every step calls these; none does more."""

from graphs.memories.forgetting import Forgotten, Selection, count_forgotten, forget
from graphs.memories.reach import OWN, Access, access, in_step, parse_scope, readable, spelled
from graphs.memories.reading import LISTED, export, get, kinds, page, read
from graphs.memories.recalling import Found, Wanted, recall
from graphs.memories.views import TRUSTED, forgotten_view, hit_view, memory_view, outcome_view, quoted
from graphs.memories.writing import ORIGINS, Remembered, Remembrance, Source, keep_passages, open_desk, reembed, remember

__all__ = [
    "LISTED", "ORIGINS", "OWN", "TRUSTED", "Access", "Forgotten", "Found", "Remembered", "Remembrance", "Selection", "Source", "Wanted",
    "access", "count_forgotten", "export", "forget", "forgotten_view", "get", "hit_view", "in_step", "keep_passages", "kinds",
    "memory_view", "open_desk", "outcome_view", "page", "parse_scope", "quoted", "read", "readable", "recall", "reembed",
    "remember", "spelled",
]  # fmt: skip
