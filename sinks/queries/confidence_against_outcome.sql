-- How confident the model was, against how the case ended: by policy, or by a person who agreed or did not
-- (person_unsuggested: was shown no suggestion; what those in shadow say is compared by `aios review stats`).
-- Each case once, by the last question that was asked of it.
with asked as (
    select * from review_requested
    qualify row_number() over (partition by case_id order by requested_at desc) = 1
)
select
    d.workflow,
    floor(least(coalesce(r.confidence, d.confidence), 0.999) * 10) / 10 as confidence_from,
    count(*) as cases,
    count(*) filter (where d.decided_by_kind = 'policy') as by_policy,
    count(*) filter (where d.decided_by_kind = 'reviewer' and r.suggestion <> '' and d.label = r.suggestion)
        as person_agreed,
    count(*) filter (where d.decided_by_kind = 'reviewer' and r.suggestion <> '' and d.label not in ('', r.suggestion))
        as person_chose_another,  -- a decision without a label says neither
    count(*) filter (where d.decided_by_kind = 'reviewer' and coalesce(r.suggestion, '') = '') as person_unsuggested,
    count(*) filter (where d.outcome = 'expired') as expired
from case_decided d
left join asked r using (case_id)
group by all
order by d.workflow, confidence_from desc
