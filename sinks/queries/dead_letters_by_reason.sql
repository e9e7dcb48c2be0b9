-- Dead letters by stage and reason, but for those of outcomes, lake, watch and letters; each counts once, however often it failed again.
select
    stage,
    reason,
    class,
    fingerprint,
    count(distinct id) as dead_letters,
    min(first_failed_at) as first,
    max(last_failed_at) as latest
from dead_letters
group by stage, reason, class, fingerprint
order by dead_letters desc, stage, reason
