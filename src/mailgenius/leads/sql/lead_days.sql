-- How many of a workspace's leads were created on each day (UTC), from `since` to `until`, both included and both optional;
-- days without leads are left out. Exact, and kept: a sum over a few rows for each month. Index: primary key of lead_days.
select d.day, sum(d.n)::int8 as leads
from mailgenius.lead_day_counts d
where d.workspace_id = %(workspace)s::int4
  and d.month >= coalesce(mailgenius.month_of(%(since)s::date), '-infinity')
  and d.month <= coalesce(mailgenius.month_of(%(until)s::date), 'infinity')
  and d.day >= coalesce(%(since)s::date, '-infinity') and d.day <= coalesce(%(until)s::date, 'infinity')
group by d.day
having sum(d.n) <> 0
order by d.day
