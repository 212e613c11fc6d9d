-- Deletes the leads of a segment with all that is kept about them: sends, activities, what imports would restore. With
-- erase, of their addresses and the given ones only a hash stays, on the suppression list. Indexes: the segment's,
-- email_sends_lead, lead_activities_lead.
with gone as (
    delete from mailgenius.leads l
    where l.workspace_id = %(workspace)s::int4 and {segment}
    returning l.id, l.email
), sends as (
    delete from mailgenius.email_sends s using gone
    where s.workspace_id = %(workspace)s::int4 and s.lead_id = gone.id
), activities as (
    delete from mailgenius.lead_activities a using gone
    where a.workspace_id = %(workspace)s::int4 and a.lead_id = gone.id
), changes as (
    delete from mailgenius.import_changes c using gone
    where c.workspace_id = %(workspace)s::int4 and c.lead_id = gone.id
), erased as (
    select gone.email from gone where %(erase)s::bool
    union
    select unnest(%(emails)s::text[]) where %(erase)s::bool
), plain as (
    delete from mailgenius.suppressions s using erased
    where s.workspace_id = %(workspace)s::int4 and s.email = erased.email
), hashes as (
    insert into mailgenius.suppressions (workspace_id, email, reason)
    select %(workspace)s::int4, hash, 'erased'
    from (select 'sha256:' || encode(sha256(convert_to(email, 'UTF8')), 'hex') as hash from erased) made
    order by hash collate "C"
    on conflict (workspace_id, email) do nothing
)
select count(*) from gone
