-- A page as in lead_page.sql, of a segment that few are in by what bitmaps know of it: their bits are counted, taken apart from
-- left to right, and the leads read by their numbers and sorted. The first column says whether they are few enough, which is
-- no more than an eighth of the workspace either: in order, a lead costs an eighth. If not, or if the bitmaps do not know all of
-- the attributes, there is no lead. At least one row.
-- Indexes: the bitmaps' primary keys and that of leads.
with recursive found as materialized (
    select block, c0 as there, c0 & {condition} as bits
    from (
        select block, {columns}
        from (
            {sources}
        ) source
        group by block
    ) blocks
    {high}
), few as materialized (
    select coalesce(sum(bit_count(bits)) <= least(%(few)s::int8, sum(bit_count(there)) / 8), true) and {known} as few
    from found
), one as (
    select f.block << 10 as base, f.bits, position(1::bit(1) in f.bits) as place
    from found f, few
    where few.few
    union all
    select base + place, rest, position(1::bit(1) in rest)
    from one, substring(bits from place + 1) rest
    where place > 0
), chosen as materialized (
    select l.*
    from mailgenius.leads l
    where l.workspace_id = %(workspace)s::int4 and l.id = any (array(select base + place - 1 from one where place > 0))
      and {segment} and {reach}
)
select few.few, l.workspace_id, l.id, l.email, l.first_name, l.last_name, l.phone, l.company, l.city, l.country, l.tags,
       l.attributes, l.status, l.score, l.created_at, l.updated_at, l.import_id
from few
left join lateral (select * from chosen l order by {order} limit %(limit)s::int4) l on true
order by {order}
