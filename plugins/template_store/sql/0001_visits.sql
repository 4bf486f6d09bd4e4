-- The plugin template_store: how often everybody came, and the function that its handler calls.
--
-- The function takes the events of one call as an array, locks rows in the order of their names, and answers one row an
-- event: n counts from 0 in the order of the array. Who is named twice in one call has the same count in both.

create table template_store_visits (
    name   text   collate "C" primary key,
    visits bigint not null check (visits > 0)
);
comment on table template_store_visits is 'One row for everybody who came';
comment on column template_store_visits.name is 'name of the events';
comment on column template_store_visits.visits is 'How often';

create function template_store_count(names text[])
returns table (n bigint, visits bigint)
language sql
as $$
    with come as (
        select u.name collate "C" as name, count(*) as times from unnest(names) as u (name) group by 1 order by 1
    ), kept as (
        insert into template_store_visits as v (name, visits)
        select c.name, c.times from come c order by c.name
        on conflict (name) do update set visits = v.visits + excluded.visits
        returning v.name, v.visits
    )
    select u.n - 1, k.visits from unnest(names) with ordinality as u (name, n) join kept k on k.name = u.name
$$;
comment on function template_store_count is 'Counts a visit for each name; a row for each, in no order';
