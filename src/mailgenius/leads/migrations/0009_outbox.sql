-- Jobs that a transaction adds: they are here once it commits, and a relay moves them to Redis. docs/design/queue.md.
--
-- They belong to no workspace, as the queues do not. Rows come and go, so the table stays small.

create table mailgenius.outbox (
    id          bigint generated always as identity primary key,
    queue       text not null,
    key         text collate "C" not null,  -- by which Redis knows a row that comes twice; random
    jobs        bytea not null,             -- as the queue's scripts take them
    error       text,                       -- why no relay can move it
    created_at  timestamptz not null default clock_timestamp()
);

create function mailgenius.outbox_tell() returns trigger language plpgsql as $$
begin
    notify mailgenius_outbox;
    return null;
end $$;

create trigger outbox_tell after insert on mailgenius.outbox for each statement execute function mailgenius.outbox_tell();
