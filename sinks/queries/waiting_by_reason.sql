-- Cases that wait for a person, by reason (a case with two reasons counts under both, one with none under ''), and
-- since when.
-- A question is answered by the ledger's line of a person after it; a case has one open at a time, its last. A key that
-- is used again when its case is forgotten has another case of the same id.
with asked as (
    select * from review_requested
    qualify row_number() over (partition by case_id order by requested_at desc) = 1
),
answered as (
    select case_id, max(settled_at) as answered_at from usage_settled where kind = 'person' group by case_id
)
select
    r.workflow,
    r.reason,
    count(*) as waiting,
    min(r.requested_at) as oldest
from (select *, unnest(case when len(reasons) > 0 then reasons else [''] end) as reason from asked) r
left join answered a using (case_id)
anti join case_decided d on d.case_id = r.case_id and d.decided_at >= r.requested_at
where epoch_ms(r.expires_at) > epoch_ms(now()) and coalesce(a.answered_at <= r.requested_at, true)
group by r.workflow, r.reason
order by waiting desc, r.workflow, r.reason
