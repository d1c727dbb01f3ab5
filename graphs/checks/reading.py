"""Fields that code reads: whether an output, the input or a variable can have them, by its schema."""

from __future__ import annotations

from collections.abc import Iterator

from graphs.checks.diagnostic import Diagnostic, Operation, add, joined, quoted, replace
from graphs.checks.expressions import measured
from graphs.checks.fields import absent
from graphs.checks.repairs import meant
from graphs.checks.sites import Site
from graphs.checks.swaps import declared, swapped
from graphs.checks.view import View
from graphs.definition import Json
from graphs.documents import is_object
from graphs.expressions.paths import spelled
from graphs.expressions.syntax import Reference


def check_fields(
    site: Site, reference: Reference, owner: str, schema: Json, steps: tuple[str | int, ...], *, skip: int = 0
) -> Iterator[Diagnostic]:
    """A step that the schema has no place for."""
    lost = absent(schema, steps)
    if lost is None:
        return
    step = steps[lost.step]
    place = owner + spelled("", steps[: lost.step])
    if step == "length" and reference.method is None and (fixed := measured(site.text.strip())):
        message = f"{quoted(site.text.strip())}: {place} has no field 'length'; write len({place})"
        yield Diagnostic(code="unknown_field", pointer=site.pointer, message=message, patch=(replace(site.pointer, site.with_code(fixed)),))
        return
    close = meant(str(step), lost.names)
    if not close and step == "output" and len(steps) > lost.step + 1 and str(steps[lost.step + 1]) in lost.names:
        yield _needless_output(site, reference, owner, steps, lost.step)
        return
    if not lost.closed and not close:
        return
    hint = f"did you mean {close[0]!r}?" if close else f"its fields are {', '.join(lost.names)}"
    if lost.kind != "object":
        hint = f"it is {'a list; take one by index or write [x.… for x in …]' if lost.kind == 'array' else 'of type ' + lost.kind}"
    end = skip + lost.step + 1
    better = spelled(reference.root, (*reference.steps[: end - 1], close[0])) if close else None
    yield Diagnostic(
        code="unknown_field",
        severity="error" if lost.closed else "warning",
        pointer=site.pointer,
        message=f"{quoted(site.text.strip())}: {place} has no field {step!r}; {hint}",
        suggestions=tuple(close or lost.names[:8]),
        patch=swapped(site, reference.root, reference.steps[:end], better) if better else (),
    )


def _needless_output(site: Site, reference: Reference, owner: str, steps: tuple[str | int, ...], at: int) -> Diagnostic:
    """`nodes.a.output.x`, as other tools write it, for `nodes.a.x`."""
    skip = len(reference.steps) - len(steps)
    better = spelled(reference.root, reference.steps[: skip + at])
    return Diagnostic(
        code="unknown_field",
        pointer=site.pointer,
        message=f"{quoted(site.text.strip())}: {owner} is the output itself; leave out .output",
        suggestions=(better,),
        patch=swapped(site, reference.root, reference.steps[: skip + at + 1], better),
    )


def check_input(view: View, site: Site, reference: Reference) -> Iterator[Diagnostic]:
    schema, steps = view.input_schema, reference.steps
    if not is_object(schema) or not steps:
        return
    properties = schema.get("properties")
    if len(steps) == 1 and is_object(properties) and steps[0] in properties:
        return  # nearly all of them
    lost = absent(schema, steps[:1])
    if lost is None or not isinstance(steps[0], str):
        yield from check_fields(site, reference, "input", schema, steps)
        return
    close = meant(steps[0], lost.names)
    declare: tuple[Operation, ...] = ()
    if lost.kind == "object":
        declare = (
            (add(joined("/input/properties", steps[0]), {}),) if is_object(properties) else (add("/input/properties", {steps[0]: {}}),)
        )
    hint = f"did you mean {close[0]!r}?" if close else "declare it there"
    yield Diagnostic(
        code="unknown_input",
        pointer=site.pointer,
        message=f"{quoted(site.text.strip())}: the schema in `input` has no property {steps[0]!r}; {hint}",
        suggestions=tuple(close or lost.names[:8]),
        patch=swapped(site, "input", steps[:1], spelled("input", close[:1])) if close else declare,
    )


def check_variable(view: View, site: Site, reference: Reference) -> Iterator[Diagnostic]:
    name = reference.steps[0] if reference.steps else None
    if not isinstance(name, str) or name in view.variables:
        return
    close = meant(name, view.variables)
    hint = f"did you mean {close[0]!r}?" if close else "declare it in `vars` of the workflow"
    yield Diagnostic(
        code="undeclared_variable",
        pointer=site.pointer,
        message=f"{quoted(site.text.strip())}: there is no variable {name!r}; {hint}",
        suggestions=tuple(close),
        patch=swapped(site, "vars", (name,), f"vars.{close[0]}") if close else declared(view, name),
    )
