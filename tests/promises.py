"""What Weft promises. Tests name the promise they hold with @pytest.mark.promise("P1"); test_promises.py enforces both directions."""

PROMISES = {
    "P1": "nothing lost: what was acknowledged survives kill -9 of any process and a Postgres restart",
    "P2": "no silent repeat: a side effect is done at most once, or the run says it does not know and asks",
    "P3": "no leak: nobody reads, changes, counts or times another organization's data, through any door",
    "P4": "checked means runs: what validation accepts compiles and runs; all problems are reported at once, each with a place and a fix",
    "P5": "pinned: a run keeps the version it started with, whatever is published later",
    "P6": "secrets stay out: a secret value never reaches a checkpoint, event, log, trace, prompt, tool result or error text",
    "P7": "honest states: a run is never running when nothing runs, nor succeeded when a branch silently stopped",
    "P8": "bounded: every run, agent, loop, script, request and page has limits on time, steps, depth, size and money",
    "P9": "portable: one Postgres; works behind a transaction pooler; no other service is needed",
}
