-- Recordings, those that run included; times in microseconds.
create table recording (
    id text primary key,
    call text not null,
    room text,
    file text not null,
    started integer not null,
    layout text not null,
    format text not null,
    state text not null,
    length integer not null,
    lost integer not null
) strict, without rowid;
create index recording_started on recording (started);
create index recording_call on recording (call, started);
