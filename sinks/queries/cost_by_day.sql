-- What models and people have cost, by day, tenant and workflow; in millionths of money.currency.
select
    strftime(settled_at, '%Y-%m-%d') as day,
    tenant,
    workflow,
    count(*) filter (kind = 'inference') as answers,
    coalesce(sum(cost_micro) filter (kind = 'inference'), 0)::bigint as models,
    coalesce(sum(cost_micro) filter (kind = 'person'), 0)::bigint as people,
    coalesce(sum(cost_micro) filter (kind = 'wasted'), 0)::bigint as wasted
from (from usage_settled qualify row_number() over (partition by settlement_id) = 1)
where kind in ('inference', 'person', 'wasted')
group by all
order by day desc, tenant, workflow
