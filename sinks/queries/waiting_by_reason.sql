-- Cases that wait for a person, by reason (a case with two reasons counts under both), and since when.
select
    r.workflow,
    reason,
    count(*) as waiting,
    min(r.requested_at) as oldest
from (select *, unnest(reasons) as reason from review_requested) r
anti join case_decided d using (case_id)
group by r.workflow, reason
order by waiting desc, r.workflow, reason
