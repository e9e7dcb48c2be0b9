-- Cases decided without a person, of all that were decided, by workflow and channel; what was called off was not.
select
    workflow,
    channel,
    count(*) as decided,
    count(*) filter (where decided_by_kind = 'policy') as by_policy,
    count(*) filter (where decided_by_kind = 'reviewer') as by_person,
    count(*) filter (where outcome = 'expired') as expired,
    round(by_policy / decided, 3) as automation_rate
from case_decided
where decided_by_kind in ('policy', 'reviewer', 'timer')
group by workflow, channel
order by decided desc, workflow, channel
