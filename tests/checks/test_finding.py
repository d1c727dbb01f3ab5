"""An author who says what is wanted finds the node type for it, in other words than ours too."""

from __future__ import annotations

import pytest

from graphs.catalogue import node_types
from graphs.finding import best_example, find, said

WANTED = (
    ("get somebody's permission before paying", "approval"),
    ("the manager must sign off", "approval"),
    ("let a human say yes or no", "approval"),
    ("collect the customer's address from a colleague", "input"),
    ("ask the user for missing details", "input"),
    ("fill out a questionnaire", "input"),
    ("download a web page", "http"),
    ("post data to a server", "http"),
    ("talk to our billing system's endpoint", "http"),
    ("send a slack message through its url", "http"),
    ("choose what to do depending on a number", "if"),
    ("branch on whether the total is above 100", "if"),
    ("different paths for different categories", "switch"),
    ("pick one of several cases by status", "switch"),
    ("do the same thing for every row of a table", "foreach"),
    ("process each order in the list", "foreach"),
    ("handle many files one after another", "foreach"),
    ("keep trying until the job reports done", "while"),
    ("repeat five times", "while"),
    ("do two things at the same time", "parallel"),
    ("run steps concurrently", "parallel"),
    ("use whichever provider answers quickest", "race"),
    ("take the earliest result and cancel the rest", "race"),
    ("pause until tomorrow morning", "wait"),
    ("sleep for an hour", "wait"),
    ("remind after three days", "wait"),
    ("hold on until the payment arrives", "wait_event"),
    ("resume when another system tells us", "wait_event"),
    ("tell other workflows that something happened", "emit_event"),
    ("broadcast a notification to waiting runs", "emit_event"),
    ("recover when a step breaks", "try"),
    ("clean up no matter what happens", "try"),
    ("roll back the booking if charging fails", "try"),
    ("write custom code to transform json", "script"),
    ("calculate with python", "script"),
    ("compute a total and store it in a variable", "set"),
    ("rename fields", "set"),
    ("build an object from earlier results", "set"),
    ("finish early with an error message", "stop"),
    ("end everything when the customer cancels", "stop"),
    ("call a reusable workflow", "subflow"),
    ("start a child process and use its result", "subflow"),
    ("classify an email with a language model", "llm"),
    ("translate text to German with AI", "llm"),
    ("extract fields from an invoice using gpt", "llm"),
    ("draft a reply", "llm"),
    ("shorten a long report", "summarize"),
    ("key points of a conversation", "summarize"),
    ("store what the customer likes for later", "remember"),
    ("save a fact about a person", "remember"),
    ("look up what we know about a customer", "recall"),
    ("find earlier conversations about this topic", "recall"),
    ("delete everything about a person", "forget"),
    ("gdpr erasure", "forget"),
    ("search our uploaded manuals", "retrieve"),
    ("find passages in documents for question answering", "retrieve"),
    ("turn sentences into vectors", "embed"),
    ("semantic similarity numbers", "embed"),
    ("continue when all branches have finished", "join"),
    ("wait for two of three branches", "join"),
)


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("loop over a list", "foreach"),
        ("call a REST API", "http"),
        ("run python code", "script"),
        ("wait 3 days", "wait"),
        ("ask a person to approve", "approval"),
        ("merge branches", "join"),
        ("summarize text with AI", "summarize"),
        ("make a summary of a long document", "summarize"),
        ("make embeddings of texts", "embed"),
        ("generate an answer with GPT", "llm"),
        ("run another workflow", "subflow"),
        ("repeat until it is done", "while"),
        ("poll until ready", "while"),
        ("loop 3 times", "while"),
        ("first answer wins", "race"),
        ("undo when a step fails", "try"),
        ("catch an error", "try"),
        ("send a signal to another run", "emit_event"),
    ],
)
def test_a_search_finds_the_type_people_mean(query: str, name: str) -> None:
    assert find(query, 3)[0].name == name


def test_an_empty_search_lists_everything_and_nonsense_nothing() -> None:
    assert len(find("", 100)) == len(node_types())
    assert find("zzzz") == []


def test_what_is_wanted_is_found_in_other_words_than_ours() -> None:
    places = [[kind.name for kind in find(query, 3)] for query, _ in WANTED]
    first = sum(found[:1] == [name] for found, (_, name) in zip(places, WANTED, strict=True))
    among = sum(name in found for found, (_, name) in zip(places, WANTED, strict=True))
    assert first >= 0.8 * len(WANTED)
    assert among >= 0.92 * len(WANTED)


def test_nobody_copied_a_question_of_this_test_into_what_is_searched() -> None:
    assert not {query for query, _ in WANTED} & {phrase for several in said().values() for phrase in several}


def test_the_example_is_the_one_that_fits() -> None:
    assert "summarize" in str(best_example(node_types()["llm"], "summarize text")).lower()
    assert "classify" in str(best_example(node_types()["llm"], "classify a ticket")).lower()
