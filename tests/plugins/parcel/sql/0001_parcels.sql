-- What the desk knows. Applied once by `sluice migrate`; what is applied never changes: the next change is 0002_….sql.
create table parcel (
    parcel_id text primary key, -- makes booking repeatable
    country text not null,
    kg double precision not null,
    booked_at timestamptz not null default now(),
    late boolean not null default false
);

create table parcel_count (
    topic text primary key,
    events bigint not null
);
