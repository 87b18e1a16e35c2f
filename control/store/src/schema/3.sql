-- What whoever asked for a recording wants kept beside it.
alter table recording add column metadata text;
