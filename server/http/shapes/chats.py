"""What the operations on chats take and answer, as pydantic models: they become the OpenAPI document."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from server.http.operations import Body
from server.http.shapes import Shape

MAX_DATA = 7_000_000  # characters of base64
State = Literal["said", "writing", "done", "failed", "stopped"]


class Attachment(Body):
    """A file: its text, or its bytes."""

    name: str = Field(min_length=1, max_length=200, description="with its ending, such as orders.csv")
    text: str | None = Field(default=None, max_length=1_000_000)
    data: str | None = Field(default=None, max_length=MAX_DATA, description="base64, for PDF, DOCX and images")


class Say(Body):
    message: str = Field(default="", max_length=100_000)
    chat: str | None = Field(default=None, max_length=64, description="without it a new one")
    parent: str | None = Field(default=None, max_length=64, description="the answer it follows; without it the last one")
    attachments: list[Attachment] = Field(default=[], max_length=10)
    model: str | None = Field(default=None, max_length=200, description='"vendor:name"; without it the default')


class Edit(Body):
    message: str = Field(default="", max_length=100_000)
    attachments: list[Attachment] = Field(default=[], max_length=10)
    model: str | None = Field(default=None, max_length=200)


class Again(Body):
    model: str | None = Field(default=None, max_length=200, description="another model than the default")


class Change(Body):
    title: str | None = Field(default=None, min_length=1, max_length=200)
    archived: bool | None = None
    auto_approve: list[str] | None = Field(default=None, max_length=20, description="tools you are asked about no more in this chat")
    head: str | None = Field(default=None, max_length=64, description="the branch to go on with, by its last message")


class Approve(Body):
    task_id: str = Field(max_length=64)
    approved: bool
    comment: str | None = Field(default=None, max_length=2000)


class TurnBegun(Shape):
    chat: str
    message: str
    answer: str
    run_id: str


class ChatView(Shape):
    id: str
    title: str
    head: str | None
    auto_approve: list[str]
    archived: bool
    created_at: str
    updated_at: str


class ChatPage(Shape):
    chats: list[ChatView]
    next_cursor: str | None


class Attached(Shape):
    name: str
    type: Literal["file", "image"]
    characters: int | None = None
    media_type: str | None = None


class MessageView(Shape):
    id: str
    parent: str | None
    role: Literal["user", "assistant"]
    state: State
    text: str
    attachments: list[Attached]
    branches: list[str] = Field(description="messages with the same parent, this one among them, where there are several")
    error: Any = None
    run_id: str | None = None
    created_at: str


class ChatDetail(ChatView):
    messages: list[MessageView]


class Deleted(Shape):
    deleted: bool


class Events(Shape):
    """Only as a stream."""

    chat: str
    state: State
