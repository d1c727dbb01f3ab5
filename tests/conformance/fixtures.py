"""The tools, resources, prompts and legacy methods that the conformance suite calls by name. Only the conformance test installs them.

Weft itself does not serve logging/setLevel and resources/subscribe|unsubscribe, and so does not advertise them: it logs nothing to
clients, progress and get_run(wait_seconds=…) tell a client what changes, and the protocol has removed all three. They are here because
the suite calls them, like the tools that ask the client for sampling and roots.
"""

from __future__ import annotations

import base64
import json
from typing import Any

from mcp.server.context import ServerRequestContext
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.prompts.base import UserMessage
from mcp.shared.exceptions import MCPError
from mcp.types import (
    MISSING_REQUIRED_CLIENT_CAPABILITY,
    AudioContent,
    CallToolResult,
    CreateMessageRequest,
    CreateMessageRequestParams,
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitResult,
    EmbeddedResource,
    EmptyResult,
    ImageContent,
    InputRequest,
    InputRequiredResult,
    ListRootsRequest,
    RequestParams,
    SamplingMessage,
    SetLevelRequestParams,
    SubscribeRequestParams,
    TextContent,
    TextResourceContents,
    UnsubscribeRequestParams,
)

Ctx = Context[Any, Any]
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg=="  # one pixel
WAV = "UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAA="  # one sample
TEXT = "text/plain"


def _text(text: str) -> TextContent:
    return TextContent(type="text", text=text)


def _picture() -> ImageContent:
    return ImageContent(type="image", data=PNG, mime_type="image/png")


def _embedded(uri: str, text: str, mime_type: str = TEXT) -> EmbeddedResource:
    return EmbeddedResource(type="resource", resource=TextResourceContents(uri=uri, mime_type=mime_type, text=text))


def _done(text: str) -> CallToolResult:
    return CallToolResult(content=[_text(text)])


# --- tools that answer at once ------------------------------------------------------------------------------------------------------


def test_simple_text() -> CallToolResult:
    return _done("This is a simple text response for testing.")


def test_image_content() -> CallToolResult:
    return CallToolResult(content=[_picture()])


def test_audio_content() -> CallToolResult:
    return CallToolResult(content=[AudioContent(type="audio", data=WAV, mime_type="audio/wav")])


def test_embedded_resource() -> CallToolResult:
    return CallToolResult(content=[_embedded("test://embedded-resource", "This is an embedded resource content.")])


def test_multiple_content_types() -> CallToolResult:
    resource = _embedded("test://mixed-content-resource", json.dumps({"test": "data", "value": 123}), "application/json")
    return CallToolResult(content=[_text("Multiple content types test:"), _picture(), resource])


def test_error_handling() -> CallToolResult:
    raise ToolError("This tool intentionally returns an error for testing")


async def test_tool_with_progress(ctx: Ctx) -> CallToolResult:
    for step in (0, 50, 100):
        await ctx.report_progress(step, 100, f"Completed step {step} of 100")
    return _done("All steps completed.")


async def test_tool_with_logging(ctx: Ctx) -> CallToolResult:
    for message in ("Tool execution started", "Tool processing data", "Tool execution completed"):
        await ctx.info(message)  # pyright: ignore[reportDeprecated] - the suite tests the deprecated feature
    return _done("Logged three messages.")


async def test_logging_tool(ctx: Ctx) -> CallToolResult:
    """Logs, but the client of the newer protocol must not see it, for it did not ask for logs."""
    return await test_tool_with_logging(ctx)


async def test_trigger_tool_change(ctx: Ctx) -> CallToolResult:
    await ctx.notify_tools_changed()
    return _done("Told listeners that the tools changed.")


async def test_trigger_prompt_change(ctx: Ctx) -> CallToolResult:
    await ctx.notify_prompts_changed()
    return _done("Told listeners that the prompts changed.")


def test_missing_capability(ctx: Ctx) -> CallToolResult:
    if ctx.client_capabilities is None or ctx.client_capabilities.sampling is None:
        needed: dict[str, Any] = {"requiredCapabilities": {"sampling": {}}}
        raise MCPError(MISSING_REQUIRED_CLIENT_CAPABILITY, "This tool needs a client that can sample.", needed)
    return _done("The client can sample.")


# --- tools that ask the client while they run: the older protocol ---------------------------------------------------------------------


async def test_sampling(prompt: str, ctx: Ctx) -> CallToolResult:
    messages = [SamplingMessage(role="user", content=_text(prompt))]
    sampled = await ctx.session.create_message(messages, max_tokens=100)  # pyright: ignore[reportDeprecated] - as above
    return _done(f"LLM response: {sampled.content.text if isinstance(sampled.content, TextContent) else sampled.content.type}")


async def _asked(ctx: Ctx, message: str, fields: dict[str, Any]) -> CallToolResult:
    form = {"type": "object", "properties": fields, "required": list(fields)}
    answer = await ctx.session.elicit_form(message, form, related_request_id=ctx.request_id)
    return _done(f"Elicitation completed: action={answer.action}, content={json.dumps(answer.content)}")


async def test_elicitation(message: str, ctx: Ctx) -> CallToolResult:
    return await _asked(ctx, message, {"response": {"type": "string", "description": "User's response"}})


async def test_elicitation_sep1034_defaults(ctx: Ctx) -> CallToolResult:
    states = ["active", "inactive", "pending"]
    fields = {
        "name": {"type": "string", "default": "John Doe"},
        "age": {"type": "integer", "default": 30},
        "score": {"type": "number", "default": 95.5},
        "status": {"type": "string", "enum": states, "default": states[0]},
        "verified": {"type": "boolean", "default": True},
    }
    return await _asked(ctx, "Please check these details", fields)


async def test_elicitation_sep1330_enums(ctx: Ctx) -> CallToolResult:
    titled = [{"const": f"value{number}", "title": f"Option {number}"} for number in (1, 2, 3)]
    plain = ["option1", "option2", "option3"]
    fields = {
        "untitledSingle": {"type": "string", "enum": plain},
        "titledSingle": {"type": "string", "oneOf": titled},
        "legacyEnum": {"type": "string", "enum": ["opt1", "opt2", "opt3"], "enumNames": ["Option One", "Option Two", "Option Three"]},
        "untitledMulti": {"type": "array", "items": {"type": "string", "enum": plain}},
        "titledMulti": {"type": "array", "items": {"anyOf": titled}},
    }
    return await _asked(ctx, "Please choose", fields)


# --- tools that answer with a question first: the newer protocol ------------------------------------------------------------------------


def _form(message: str, **fields: str) -> ElicitRequest:
    properties = {name: {"type": kind} for name, kind in fields.items()}
    form = {"type": "object", "properties": properties, "required": list(fields)}
    return ElicitRequest(params=ElicitRequestFormParams(message=message, requested_schema=form))


def _sample(prompt: str) -> CreateMessageRequest:
    messages = [SamplingMessage(role="user", content=_text(prompt))]
    return CreateMessageRequest(params=CreateMessageRequestParams(messages=messages, max_tokens=100))


NAME = {"user_name": _form("What is your name?", name="string")}
CONFIRM = {"confirm": _form("Please confirm", ok="boolean")}
CAPITAL = {"capital_question": _sample("What is the capital of France?")}
ROOTS = {"client_roots": ListRootsRequest(params=RequestParams())}
CONTEXT: dict[str, InputRequest] = {"user_context": _form("What context should the prompt use?", context="string")}

Asks = CallToolResult | InputRequiredResult


def _round(ctx: Ctx, requests: dict[str, Any], state: str | None = None) -> Asks:
    """Asks until every question has an answer, and then says what the answers were."""
    answers = ctx.input_responses or {}
    if not requests.keys() <= answers.keys() or ctx.request_state != state:
        return InputRequiredResult(input_requests=requests, request_state=state)
    heard = {key: answers[key].model_dump(mode="json", exclude_none=True) for key in requests}
    return _done(f"{state or 'no state'}: {json.dumps(heard)}")


def test_input_required_result_elicitation(ctx: Ctx) -> Asks:
    return _round(ctx, NAME)


def test_input_required_result_sampling(ctx: Ctx) -> Asks:
    return _round(ctx, CAPITAL)


def test_input_required_result_list_roots(ctx: Ctx) -> Asks:
    return _round(ctx, ROOTS)


def test_input_required_result_request_state(ctx: Ctx) -> Asks:
    return _round(ctx, CONFIRM, "state-ok")


def test_input_required_result_tampered_state(ctx: Ctx) -> Asks:
    return _round(ctx, CONFIRM, "sealed")


def test_input_required_result_multiple_inputs(ctx: Ctx) -> Asks:
    return _round(ctx, {**NAME, "greeting": _sample("Generate a greeting"), **ROOTS}, "three-questions")


def test_input_required_result_multi_round(ctx: Ctx) -> Asks:
    if ctx.request_state is None:
        return _round(ctx, {"step1": _form("Step 1: What is your name?", name="string")}, "round-1")
    return _round(ctx, {"step2": _form("Step 2: What is your favorite color?", color="string")}, "round-2")


def test_input_required_result_capabilities(ctx: Ctx) -> Asks:
    able = ctx.client_capabilities
    asked = {**(CAPITAL if able and able.sampling else {}), **(NAME if able and able.elicitation else {})}
    return _round(ctx, asked) if asked else _done("This client cannot be asked anything.")


def test_streaming_elicitation(ctx: Ctx) -> Asks:
    return _round(ctx, NAME)


TOOLS = tuple(tool for name, tool in sorted(globals().items()) if name.startswith("test_"))


# --- prompts, resources and the methods that only the older protocol has ----------------------------------------------------------------


def simple_prompt() -> list[UserMessage]:
    return [UserMessage("This is a simple prompt for testing.")]


def prompt_with_arguments(arg1: str, arg2: str) -> list[UserMessage]:
    return [UserMessage(f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'")]


def prompt_with_embedded_resource(resourceUri: str) -> list[UserMessage]:
    resource = _embedded(resourceUri, "Embedded resource content for testing.")
    return [UserMessage(resource), UserMessage("Please process the embedded resource above.")]


def prompt_with_image() -> list[UserMessage]:
    return [UserMessage(_picture()), UserMessage("Please analyze the image above.")]


def input_required_result_prompt(ctx: Ctx) -> list[UserMessage] | InputRequiredResult:
    answer = (ctx.input_responses or {}).get("user_context")
    if not isinstance(answer, ElicitResult):
        return InputRequiredResult(input_requests=CONTEXT)
    return [UserMessage(f"Use this context: {json.dumps(answer.content)}")]


PROMPTS = (simple_prompt, prompt_with_arguments, prompt_with_embedded_resource, prompt_with_image, input_required_result_prompt)


def static_text() -> str:
    return "This is the content of the static text resource."


def static_binary() -> bytes:
    return base64.b64decode(PNG)


def watched() -> str:
    return "Watched resource content"


def template(id: str) -> str:
    return json.dumps({"id": id, "templateTest": True, "data": f"Data for ID: {id}"})


RESOURCES = (
    ("test://static-text", TEXT, static_text),
    ("test://static-binary", "image/png", static_binary),
    ("test://watched-resource", TEXT, watched),
    ("test://template/{id}/data", "application/json", template),
)


async def _accepted(ctx: ServerRequestContext[Any], params: RequestParams) -> EmptyResult:
    return EmptyResult()


LEGACY: tuple[tuple[str, type[RequestParams]], ...] = (
    ("logging/setLevel", SetLevelRequestParams),
    ("resources/subscribe", SubscribeRequestParams),
    ("resources/unsubscribe", UnsubscribeRequestParams),
)


def install(server: MCPServer[Any]) -> None:
    """Adds everything above to the server."""
    for tool in TOOLS:
        server.add_tool(tool, description=f"Fixture {tool.__name__} of the conformance suite.", structured_output=False)
    for prompt in PROMPTS:
        server.prompt(name=f"test_{prompt.__name__}", description=f"Fixture prompt {prompt.__name__}.")(prompt)
    for uri, mime_type, read in RESOURCES:
        server.resource(uri, name=read.__name__, description=f"Fixture resource {uri}.", mime_type=mime_type)(read)
    for method, params in LEGACY:
        server._lowlevel_server.add_request_handler(method, params, _accepted)  # pyright: ignore[reportPrivateUsage] - MCPServer offers no way
