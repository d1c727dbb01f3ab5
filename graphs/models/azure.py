"""azure: deployments of Azure OpenAI, by its own paths, key header and api-version. Only by a connection of kind openai with `api_version`.

(Azure's newer addresses that end in /openai/v1 speak plain OpenAI: use a connection with that base_url and models openai:<deployment>.)"""

from __future__ import annotations

from graphs.models import _langchain, _thinking
from graphs.models._langchain import Heard
from graphs.models._messages import Call, Endpoint, Reply
from graphs.models._settings import ModelSettings
from graphs.models.openai import Words, extra, held, reply
from graphs.nodetype import Failure
from graphs.outbound import Outbound

NEEDS = "a connection of kind openai with base_url and api_version (weft models set azure:<deployment> --connection …)"
BASE = "base_url of its connection"
CONNECTION = "openai"


def endpoint(settings: ModelSettings) -> Endpoint | None:
    return None


def default(settings: ModelSettings) -> str:
    return ""


def load() -> None:
    import langchain_openai  # noqa: F401 # pyright: ignore[reportUnusedImport]


async def ask(call: Call, endpoint: Endpoint, outbound: Outbound) -> Reply:
    async def once(words: Words) -> Heard:
        return await _ask(call, words, endpoint, outbound)

    return reply(await held(call, once))


async def _ask(call: Call, words: Words, endpoint: Endpoint, outbound: Outbound) -> Heard:
    from langchain_openai import AzureChatOpenAI

    version = endpoint.settings.get("api_version")
    if not version or not endpoint.base_url:
        raise Failure("model_missing", "its connection has no setting api_version; write for example 2024-10-21")
    body = extra(call, words)
    if call.max_tokens is not None:
        body["max_completion_tokens"] = call.max_tokens
    model = _thinking.reasoned(AzureChatOpenAI)(
        azure_deployment=call.model,
        azure_endpoint=endpoint.base_url,
        api_version=version,
        api_key=endpoint.key,
        http_async_client=outbound.client(endpoint.base_url, trusted=endpoint.trusted),
        timeout=call.timeout,
        max_retries=0,  # the engine retries, durably
        extra_body=body or None,
        stream_usage=words.counts,
        stream_chunk_timeout=None,
        use_responses_api=False,
        openai_proxy=None,
    )
    return await _langchain.invoke(model, call, _langchain.messages(words.messages))
