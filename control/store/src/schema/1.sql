-- Call detail records, in the order of their arrival. Names as in docs/cdr.md; times are microseconds since 1970 (UTC).
create table cdr (
    seq integer primary key,
    call_id text not null,
    leg integer not null,
    direction text not null,
    trunk text,
    "group" text,
    route text,
    account text,
    account_code text,
    sip_call_id text not null,
    from_user text not null,
    from_name text not null,
    from_header text not null,
    to_user text not null,
    to_host text not null,
    to_uri text not null,
    local text,
    remote text,
    created integer not null,
    progress integer,
    progress_status integer,
    progress_reason text not null,
    answered integer,
    final_status integer,
    final_reason text not null,
    ended integer not null,
    post_dial_delay_ms integer,
    ring_ms integer,
    duration_ms integer not null,
    release_by text not null,
    release_cause text not null,
    release_reason text,
    policy text,
    billable integer not null,
    price_per_minute real,
    cost real,
    tags text not null,
    received integer,
    sent integer,
    lost integer,
    jitter_max_us integer,
    one_way integer,
    mos real,
    unique (call_id, leg)
) strict;
create index cdr_created on cdr (created);
create index cdr_trunk on cdr (trunk, created);
create index cdr_account on cdr (account, created) where account is not null;
create index cdr_caller on cdr (from_user, created);
create index cdr_callee on cdr (to_user, created);
create index cdr_cause on cdr (release_cause, created);
create index cdr_policy on cdr (policy, created) where policy is not null;

-- How far each webhook has been told: all records up to this one.
create table cursor (
    sink text primary key,
    seq integer not null
) strict, without rowid;

-- Sources that are shut out; `until` is null for those that stay so.
create table ban (
    network text primary key,
    until integer,
    reason text not null,
    who text not null
) strict, without rowid;

-- Configurations that were in force.
create table config_version (
    number integer primary key,
    at integer not null,
    who text not null,
    text text not null
) strict;
