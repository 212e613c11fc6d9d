-- Whether an index of leads is there: large tables have some that others do not.
select to_regclass('mailgenius.' || %(index)s::text) is not null
