import time
import psycopg, pytest
from tests.store.queue import Queue
from tests.store.test_claims import queue, pages
pytestmark = pytest.mark.anyio
async def test_x(queue, capsys):
    owner, other = await queue.organization("acme"), await queue.organization("other")
    def t(label, n=20):
        for prep in (None,True):
            ts=[]
            for _ in range(n):
                with queue.admin.transaction(force_rollback=True):
                    a=time.perf_counter(); queue.admin.execute("SELECT * FROM weft.claim_runs(32, -1, interval '8 s')", prepare=prep).fetchall(); ts.append(time.perf_counter()-a)
        ts.sort()
        with capsys.disabled(): print(label, f"{ts[len(ts)//2]*1000:.2f} ms min {ts[0]*1000:.2f}")
    t("empty")
    queue.put(other, 1)
    t("one")
    queue.put(other, 40)
    t("41 due")
    queue.put(owner, 100_000, due=3600, state="waiting")
    t("41 due + 100k timers")
    queue.put(owner, 20000, due=-10)
    t("backlog")
    queue.admin.execute("VACUUM ANALYZE weft.runs")
    t("backlog analyzed")
    queue.put(owner, 20000, due=-10, key="k", limit=2, keys=100)
    t("keyed")
