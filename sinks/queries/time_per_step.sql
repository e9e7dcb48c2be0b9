-- How long each step took, in ms: a model's queue and computing, or a person's answer.
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
    round(median(date_diff('millisecond', r.requested_at, d.decided_at))),
    round(quantile_cont(date_diff('millisecond', r.requested_at, d.decided_at), 0.95))
from review_requested r
join case_decided d using (case_id)
where d.decided_by_kind = 'reviewer'
group by r.workflow, r.step
order by workflow, step, who
