-- Outcomes by day and label.
select
    strftime(decided_at, '%Y-%m-%d') as day,
    workflow,
    outcome,
    label,
    count(*) as cases
from case_decided
group by all
order by day desc, cases desc, label
