-- What models and people have cost, by day, tenant and workflow; in millionths of money.currency.
select
    strftime(settled_at, '%Y-%m-%d') as day,
    tenant,
    workflow,
    count(*) filter (kind = 'inference') as answers,
    coalesce(sum(cost_micro) filter (kind = 'inference'), 0)::bigint as models,
    coalesce(sum(cost_micro) filter (kind = 'person'), 0)::bigint as people,
    coalesce(sum(cost_micro) filter (kind = 'wasted'), 0)::bigint as wasted
from (
    -- a repeat has the id of the first; so has, after the thirty days for which a key is known, another case of that key
    from usage_settled
    qualify coalesce(settled_at >= interval 30 day + lag(settled_at) over (
        partition by settlement_id order by settled_at
    ), true)
)
where kind in ('inference', 'person', 'wasted')
group by all
order by day desc, tenant, workflow
