"""HTTP operations on models: which may be asked and at what price, what was spent, and budgets."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from graphs import modelling
from graphs.definition import Json
from graphs.modelling import BudgetKind, Mark, ModelForm, Period
from server.auth import Scope
from server.http.operations import Body, Call, Operation, Query
from server.http.shapes.models import BudgetList, ModelCallPage, ModelDetail, ModelRegistry, ModelRemoved, ModelTested, ModelUsage
from server.views.models import budget_view, call_view, model_view, registry_view, used_view

PATH = "/api/v1/models"
ONE = f"{PATH}/{{model:path}}"


class Listing(Body, ModelForm):
    """What the organization says of a model."""


class Choice(Body):
    default: str | None = Field(default=None, max_length=200, description="null: the operator's")
    fallbacks: list[str] = Field(default=[], max_length=20)
    only_listed: bool = False


class UsageQuery(Query):
    by: Mark = "day"
    since: datetime | None = Field(default=None, description="without it 30 days ago")
    until: datetime | None = None
    model: str | None = Field(default=None, max_length=200)
    run_id: str | None = Field(default=None, max_length=50)
    workflow: str | None = Field(default=None, max_length=100)
    agent: str | None = Field(default=None, max_length=200)
    user: str | None = Field(default=None, max_length=200)
    limit: int = Field(default=100, ge=1, le=1000)


class CallsQuery(Query):
    run_id: str | None = Field(default=None, max_length=50)
    limit: int = Field(default=50, ge=1, le=200)
    cursor: str | None = Field(default=None, max_length=1000)


class BudgetQuery(Query):
    kind: BudgetKind
    subject: str = Field(default="", max_length=200)
    period: Period = "month"


class NewBudget(Body):
    kind: BudgetKind
    subject: str = Field(default="", max_length=200, description="name of the user, agent or workflow")
    period: Period = "month"
    usd: float | None = Field(default=None, ge=0)
    tokens: int | None = Field(default=None, ge=0)


async def listed(call: Call[None, Query]) -> Json:
    return registry_view(await modelling.registry(call.caller.runtime, call.caller.actor))


async def put(call: Call[Listing, Query]) -> Json:
    form = modelling.formed(call.body.model_dump())
    return model_view(await modelling.put(call.caller.runtime, call.caller.actor, call.path["model"], form))


async def remove(call: Call[None, Query]) -> Json:
    await modelling.remove(call.caller.runtime, call.caller.actor, call.path["model"])
    return {"removed": call.path["model"]}


async def test(call: Call[None, Query]) -> Json:
    return {"name": call.path["model"], "said": await modelling.test(call.caller.runtime, call.caller.actor, call.path["model"])}


async def choose(call: Call[Choice, Query]) -> Json:
    return registry_view(await modelling.choose(call.caller.runtime, call.caller.actor, **call.body.model_dump()))


async def usage(call: Call[None, UsageQuery]) -> Json:
    found = await modelling.usage(call.caller.actor, **call.query.model_dump())
    return {"by": call.query.by, "usage": [used_view(used, call.query.by) for used in found]}


async def calls(call: Call[None, CallsQuery]) -> Json:
    found, cursor = await modelling.calls(call.caller.actor, **call.query.model_dump())
    return {"calls": [call_view(row) for row in found], "next_cursor": cursor}


async def budgets(call: Call[None, Query]) -> Json:
    return {"budgets": [budget_view(budget) for budget in await modelling.budgets(call.caller.actor)]}


async def set_budget(call: Call[NewBudget, Query]) -> Json:
    return {"budgets": [budget_view(budget) for budget in await modelling.set_budget(call.caller.actor, **call.body.model_dump())]}


async def remove_budget(call: Call[None, BudgetQuery]) -> Json:
    await modelling.remove_budget(call.caller.actor, **call.query.model_dump())
    return {"budgets": [budget_view(budget) for budget in await modelling.budgets(call.caller.actor)]}


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        method="GET",
        path=PATH,
        name="listModels",
        summary="List the models that may be asked, with the default and its fallbacks",
        scope=Scope.READ,
        run=listed,
        answer=ModelRegistry,
    ),
    Operation(
        method="PUT",
        path=f"{PATH}/choice",
        name="chooseModel",
        summary="Set the default model, its fallbacks, and whether only listed models may be asked",
        scope=Scope.ADMIN,
        run=choose,
        answer=ModelRegistry,
        body=Choice,
    ),
    Operation(
        method="GET",
        path=f"{PATH}/usage",
        name="getModelUsage",
        summary="Sum up tokens and cost of calls to models",
        scope=Scope.READ,
        run=usage,
        answer=ModelUsage,
        query=UsageQuery,
    ),
    Operation(
        method="GET",
        path=f"{PATH}/calls",
        name="listModelCalls",
        summary="List single calls to models",
        scope=Scope.READ,
        run=calls,
        answer=ModelCallPage,
        query=CallsQuery,
    ),
    Operation(
        method="GET",
        path=f"{PATH}/budgets",
        name="listBudgets",
        summary="List budgets with what is spent of them",
        scope=Scope.READ,
        run=budgets,
        answer=BudgetList,
    ),
    Operation(
        method="PUT",
        path=f"{PATH}/budgets",
        name="setBudget",
        summary="Set what may be spent on models in a day, a month or in all",
        scope=Scope.ADMIN,
        run=set_budget,
        answer=BudgetList,
        body=NewBudget,
    ),
    Operation(
        method="DELETE",
        path=f"{PATH}/budgets",
        name="removeBudget",
        summary="Remove a budget",
        scope=Scope.ADMIN,
        run=remove_budget,
        answer=BudgetList,
        query=BudgetQuery,
    ),
    Operation(
        method="POST",
        path=f"{ONE}/test",
        name="testModel",
        summary="Ask a model for one word",
        scope=Scope.ADMIN,
        run=test,
        answer=ModelTested,
    ),
    Operation(
        method="PUT",
        path=ONE,
        name="putModel",
        summary="List a model: its price, abilities, alias and connection",
        scope=Scope.ADMIN,
        run=put,
        answer=ModelDetail,
        body=Listing,
    ),
    Operation(
        method="DELETE",
        path=ONE,
        name="removeModel",
        summary="Take a model off the list",
        scope=Scope.ADMIN,
        run=remove,
        answer=ModelRemoved,
    ),
)
