-- How long each step took, in ms: a model's queue and computing, or a person's answer.
-- A person's answer is a line of the ledger; what it answers is the last question that was asked of its case before.
select
    workflow,
    step,
    model as who,
    count(*) as answers,
    count(*) filter (where status <> 'ok') as failed,
    round(median(queue_ms)) as queue_p50_ms,
    round(quantile_cont(queue_ms, 0.95)) as queue_p95_ms,
    round(median(compute_ms)) as work_p50_ms,
    round(quantile_cont(compute_ms, 0.95)) as work_p95_ms
from inference_completed
group by workflow, step, model
union all
select
    r.workflow,
    r.step,
    'a person',
    count(*),
    0,
    null,
    null,
    round(median(date_diff('millisecond', r.requested_at, p.settled_at))),
    round(quantile_cont(date_diff('millisecond', r.requested_at, p.settled_at), 0.95))
from (select * from usage_settled where kind = 'person') p
asof join review_requested r on p.case_id = r.case_id and p.settled_at > r.requested_at
group by r.workflow, r.step
order by workflow, step, who
