import asyncio, cProfile, pstats, time, statistics
import pytest
from graphs import runs
from tests.engine.conftest import flow, put
from tests.engine.test_waiting import until
from tests.faults.test_scale import copies, admin, ids, driven, send
pytestmark = [pytest.mark.anyio, pytest.mark.timeout(900)]
async def test_t(house, admin, capsys):
    timer = {"id": "w", "type": "wait", "config": {"duration": "1h"}}
    async with house.opened() as house.runtime:
        template = await until(house, (await house.start(flow(timer, put("end"), edges=[("w", "end")]))).id, "waiting")
    N=2000
    copies(admin, template, N)
    admin.execute("UPDATE weft.waits SET due_at = clock_timestamp() WHERE run_id IN (SELECT id FROM copy)")
    admin.execute("UPDATE weft.runs SET wake_at = clock_timestamp() WHERE id IN (SELECT id FROM copy)")
    pr=cProfile.Profile()
    began = time.perf_counter(); c0=time.process_time()
    pr.enable()
    async with house.opened() as house.runtime:
        while (await runs.page(house.runtime, house.actor, state="succeeded", limit=1)).total < N:
            await asyncio.sleep(0.1)
    pr.disable()
    with capsys.disabled():
        print("sec", time.perf_counter()-began, "cpu", time.process_time()-c0)
        st=pstats.Stats(pr); st.sort_stats("cumtime").print_stats(45)
        for r in admin.execute("select n_tup_upd, n_tup_hot_upd, seq_scan, seq_tup_read, idx_scan, idx_tup_fetch, relname from pg_stat_user_tables where schemaname='weft' and relname in ('runs','waits','node_runs','events','checkpoints')").fetchall(): print(r)
async def test_wake(house, admin, capsys):
    event = {"id": "paid", "type": "wait_event", "config": {"event": "paid", "correlation": "{{ input.order }}"}}
    async with house.opened() as house.runtime:
        by_event = await until(house, (await house.start(flow(event, put("end"), edges=[("paid", "end")]), {"order": "0"})).id, "waiting")
        copies(admin, by_event, 100000)
        ts=[]; tot=[]
        for n,id in ids(admin,40):
            async with house.runtime.engine.watching(id) as changed:
                a=time.perf_counter(); await send(house,str(n)); b=time.perf_counter(); await changed.wait(); c=time.perf_counter()
                ts.append((b-a)*1000); tot.append((c-b)*1000)
    with capsys.disabled(): print("send", statistics.median(ts), "then", statistics.median(tot))
