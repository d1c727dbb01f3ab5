"""Where recalled words go: never into what a model takes for instructions, and never back into memory as somebody's own.

Words are followed through templates, `set`, `script`, variables, loops, groups and subflows of one definition. Counts, comparisons and what
Weft itself says of a memory (its id, trust, score, dates) are no words of it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from graphs.checks.diagnostic import Diagnostic, Operation, add, quoted, replace
from graphs.checks.sites import Site
from graphs.checks.view import GroupView, NodeView, View
from graphs.definition import Json
from graphs.expressions.syntax import Code, expression_tree, tree_of
from graphs.expressions.template import Hole, split

SOURCES = frozenset({"recall", "retrieve"})
INSTRUCTIONS = {"llm": ("system",), "agent": ("system", "instructions"), "summarize": ("system", "instructions")}
OURS = frozenset({"tokens", "found_by", "score", "why", "memory_id", "trust", "kind", "at", "valid_from", "valid_to", "highlights"})
"""Fields of what is found that nobody but Weft writes."""
COUNTED = frozenset({"count", "result", "winner", "iterations"})  # fields of a group's output that are none of its body's
MEASURES = frozenset({"len", "bool", "int", "float", "any", "all", "isinstance", "hash", "id", "type", "range"})
ASKING = frozenset({"startswith", "endswith", "count", "find", "index", "isdigit", "isalpha", "isalnum", "isspace"})
BELIEVED = ("user", "agent")
ALL = "*"
PASSES = 50  # words that have not arrived after so many steps back and forth do not

Where = tuple[str, str | None]
"""A node's id and one of its fields, or ALL of it."""


@dataclass(slots=True)
class Trail:
    """Where recalled words are: fields of nodes, variables. `models`: what a model made of them counts as well."""

    view: View
    sites: dict[int, list[tuple[Site, Code]]]
    models: bool
    nodes: dict[int, set[str]] = field(default_factory=dict[int, "set[str]"])
    vars: set[str] = field(default_factory=set[str])

    def follow(self) -> Trail:
        for node in self.view.nodes:
            if node.type in SOURCES:
                self.nodes[id(node)] = {ALL}
        for _ in range(PASSES):
            before = (sum(map(len, self.nodes.values())), len(self.vars))
            for node in self.view.nodes:
                self._through(node)
            if before == (sum(map(len, self.nodes.values())), len(self.vars)):
                break
        return self

    def _through(self, node: NodeView) -> None:
        marks = self.nodes.setdefault(id(node), set())
        if ALL in marks:
            return
        arrived = [site for site, code in self.sites.get(id(node), ()) if site.kind != "code" and self.at(site, code)]
        if node.type == "set":
            for site in arrived:
                part, name = _part_of(node, site)
                (self.vars if part == "vars" else marks).add(name)
        elif node.type == "script":
            given = {_part_of(node, site)[1] for site in arrived}
            if any(_returns(self, site, given) for site, _ in self.sites.get(id(node), ()) if site.kind == "code"):
                marks.add(ALL)
        elif (
            (node.type == "subflow" and arrived)
            or any(self._leaves(body) for body in node.bodies.values())
            or (self.models and node.type in INSTRUCTIONS and arrived)
        ):
            marks.add(ALL)

    def _leaves(self, body: GroupView) -> bool:
        """Whether one of the last nodes of a body has recalled words: theirs is the output of the group."""
        inner = {edge.source for edge in body.links}
        return any(self.nodes.get(id(node)) for node in body.nodes if node.id not in inner)

    def at(self, site: Site, code: Code) -> bool:
        """Whether an expression of the document may hold recalled words. It is taken apart only where it reads some."""
        if not any(self._read((one.root, tuple(step for step in one.steps if isinstance(step, str))), site) for one in code.references):
            return False
        return code.path is not None or self.holds(_tree(site.text.strip()), site)

    def holds(self, tree: ast.AST, site: Site, own: frozenset[str] = frozenset()) -> bool:
        """Whether the value of an expression may hold recalled words. `own`: names in it that do."""
        chain = _chain(tree)
        if chain is not None:
            return self._read(chain, site, own)
        match tree:
            case ast.Compare() | ast.UnaryOp(op=ast.Not()):
                return False
            case ast.Call(func=ast.Name(id=name)) if name in MEASURES:
                return False
            case ast.Call(func=ast.Attribute(attr=name)) if name in ASKING:
                return False
            case ast.IfExp():
                return self.holds(tree.body, site, own) or self.holds(tree.orelse, site, own)
            case ast.ListComp() | ast.SetComp() | ast.GeneratorExp() | ast.DictComp():
                for part in tree.generators:
                    if self.holds(part.iter, site, own):
                        own = own | _names(part.target)
                made = (tree.key, tree.value) if isinstance(tree, ast.DictComp) else (tree.elt,)
                return any(self.holds(one, site, own) for one in made)
            case ast.Subscript():
                return self.holds(tree.value, site, own)
            case _:
                return any(self.holds(child, site, own) for child in ast.iter_child_nodes(tree))

    def _read(self, chain: tuple[str, tuple[str, ...]], site: Site, own: frozenset[str] = frozenset()) -> bool:
        root, steps = chain
        if root in own or self._local(root, site.group):
            return not OURS.intersection(steps)
        if root == "vars":
            return bool(self.vars) if not steps else steps[0] in self.vars
        if root != "nodes" or not steps:
            return root == "nodes" and any(self.nodes.values())
        target = self.view.by_id.get(steps[0])
        marks = self.nodes.get(id(target), set()) if target else set[str]()
        if not marks or (target and target.type in SOURCES and OURS.intersection(steps[1:])):
            return False
        if target and target.bodies and steps[1:2] and steps[1] in COUNTED:
            return False
        return ALL in marks or len(steps) == 1 or steps[1] in marks

    def _local(self, name: str, group: GroupView) -> bool:
        """Whether a name that a group gives to its body has recalled words: what it goes through, or what the body made before."""
        for owner in group.around():
            if owner.kind and owner.config is not None and name in owner.kind.scope(owner.config, group.key):
                given = any(self.at(site, code) for site, code in self.sites.get(id(owner), ()) if site.kind != "code")
                return name != "index" and (given or bool(self.nodes.get(id(owner))))
            group = owner.group
        return False


def check_memories(view: View, good: list[tuple[Site, Code]]) -> Iterator[Diagnostic]:
    """Recalled words in instructions, and recalled words that are remembered as a person's or an agent's."""
    if not any(node.type in SOURCES for node in view.nodes):
        return
    sites = _by_node(good)
    direct = Trail(view, sites, models=False).follow()
    yield from _in_instructions(direct)
    yield from _said_again(direct, Trail(view, sites, models=True).follow())


def _in_instructions(trail: Trail) -> Iterator[Diagnostic]:
    reported: set[str] = set()
    for site, code in (pair for pairs in trail.sites.values() for pair in pairs):
        owner = _instructed(site)
        if owner is None or site.pointer in reported or not trail.at(site, code):
            continue
        reported.add(site.pointer)
        yield Diagnostic(
            code="memory_in_system",
            pointer=site.pointer,
            message=f"{quoted(site.text.strip())}: recalled words, which may be anybody's, do not belong into instructions; put them into "
            "`prompt`, as `text` of the step that recalled them (counts and ids may stay)",
            patch=_moved(trail, site, owner),
        )


def _instructed(site: Site) -> dict[str, Json] | None:
    """The config of the step that takes this place for instructions."""
    node = site.node
    if node is None or site.config is None:
        return None
    undo = node.compensation
    undoing = undo is not None and site.config is undo.get("config")
    type_ = str(undo.get("type")) if undoing and undo is not None else node.type or ""
    base = f"{node.pointer}/compensate/config" if undoing else f"{node.pointer}/config"
    return site.config if any(site.pointer == f"{base}/{name}" for name in INSTRUCTIONS.get(type_, ())) else None


def _moved(trail: Trail, site: Site, config: dict[str, Json]) -> tuple[Operation, ...]:
    """The holes with recalled words go from the instructions to the end of the prompt."""
    prompt, base = config.get("prompt"), site.pointer.rpartition("/")[0]
    if not isinstance(prompt, str) or site.node is None:
        return ()
    bad = {one.text for one, code in trail.sites[id(site.node)] if one.pointer == site.pointer and trail.at(one, code)}
    parts = split(site.whole)
    left = "".join(f"{{{{{part.text}}}}}" if isinstance(part, Hole) else part for part in parts if getattr(part, "text", None) not in bad)
    moved = "\n\n".join(dict.fromkeys(f"{{{{ {text.strip()} }}}}" for text in bad))
    system: Operation = replace(site.pointer, left.strip()) if left.strip() else {"op": "remove", "path": site.pointer}
    return (system, replace(f"{base}/prompt", f"{prompt}\n\n{moved}"))


def _said_again(direct: Trail, through: Trail) -> Iterator[Diagnostic]:
    for node in direct.view.nodes:
        origin = node.raw_config.get("origin")
        if node.type != "remember" or origin is None or (isinstance(origin, str) and origin not in BELIEVED and "{{" not in origin):
            continue
        trail = direct if origin == "agent" else through
        for site, code in trail.sites.get(id(node), ()):
            if _part_of(node, site)[0] in ("text", "item") and trail.at(site, code):
                yield Diagnostic(
                    code="memory_said_again",
                    pointer=f"{node.pointer}/config/origin",
                    message=f"{quoted(site.text.strip())} was recalled, and is remembered as the words of {quoted(origin)}: it would be "
                    "believed more than it was; leave `origin` out",
                    patch=(add(f"{node.pointer}/config/origin", "tool"),),
                )
                break


def _by_node(good: list[tuple[Site, Code]]) -> dict[int, list[tuple[Site, Code]]]:
    """Code that reads something, by the node it stands in."""
    found: dict[int, list[tuple[Site, Code]]] = {}
    for site, code in good:
        if site.node is not None and site.edge is None and code.references:
            found.setdefault(id(site.node), []).append((site, code))
    return found


@lru_cache(maxsize=1024)
def _tree(text: str) -> ast.AST:
    return expression_tree(text, text)


def _part_of(node: NodeView, site: Site) -> tuple[str, str]:
    """The field of the config, and of that the field, that a place is in: ("values", "text")."""
    parts = site.pointer.removeprefix(f"{node.pointer}/config/").split("/")
    return parts[0], parts[1].replace("~1", "/").replace("~0", "~") if len(parts) > 1 else ALL


def _chain(tree: ast.AST) -> tuple[str, tuple[str, ...]] | None:
    """`nodes.a["b"][0].c` → ("nodes", ("a", "b", "c")); a place in a list is no step."""
    steps: list[str] = []
    while not isinstance(tree, ast.Name):
        if isinstance(tree, ast.Attribute):
            steps.append(tree.attr)
        elif not isinstance(tree, ast.Subscript):
            return None
        elif isinstance(tree.slice, ast.Constant) and isinstance(tree.slice.value, str):
            steps.append(tree.slice.value)
        tree = tree.value
    return tree.id, tuple(reversed(steps))


def _names(target: ast.AST) -> frozenset[str]:
    return frozenset(node.id for node in ast.walk(target) if isinstance(node, ast.Name))


def _returns(trail: Trail, site: Site, given: set[str]) -> bool:
    """Whether a script may return recalled words, whatever way it takes."""
    own, tree = frozenset(given), tree_of(site.text, site.text)
    for _ in range(PASSES):
        found = own.union(*(_bound(trail, node, site, own) for node in ast.walk(tree)))
        if found == own:
            break
        own = found
    answers = (node.value for node in ast.walk(tree) if isinstance(node, ast.Return) and node.value is not None)
    return any(trail.holds(answer, site, own) for answer in answers)


def _bound(trail: Trail, node: ast.AST, site: Site, own: frozenset[str]) -> frozenset[str]:
    """Names that a statement gives recalled words to."""
    match node:
        case ast.Assign() if trail.holds(node.value, site, own):
            return frozenset[str]().union(*(_names(target) for target in node.targets))
        case ast.AugAssign() | ast.AnnAssign() | ast.NamedExpr() if node.value is not None and trail.holds(node.value, site, own):
            return _names(node.target)
        case ast.For() if trail.holds(node.iter, site, own):
            return _names(node.target)
        case ast.Call(func=ast.Attribute(value=ast.Name(id=name))) if any(trail.holds(one, site, own) for one in node.args):
            return frozenset({name})
        case _:
            return frozenset()
