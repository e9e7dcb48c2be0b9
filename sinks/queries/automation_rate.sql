-- Cases decided without a person, of all that were decided, by workflow and channel.
select
    workflow,
    channel,
    count(*) as decided,
    count(*) filter (where decided_by_kind = 'policy') as by_policy,
    count(*) filter (where decided_by_kind = 'reviewer') as by_person,
    count(*) filter (where outcome = 'expired') as expired,
    round(by_policy / decided, 3) as automation_rate
from case_decided
group by workflow, channel
order by decided desc, workflow, channel
