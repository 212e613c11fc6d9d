-- How many leads of a workspace are in a segment, from bitmaps alone: reads no lead. No row if they do not know all of the
-- attributes. Index: the bitmaps' primary keys.
select coalesce(sum(bit_count(c0 & {condition})), 0)::int8
from (
    select block, {columns}
    from (
        {sources}
    ) source
    group by block
) blocks
{high}
having {known}
