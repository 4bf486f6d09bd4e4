/*
 * faults.c - what goes wrong in the world, by the odds of the run: streams change hands, the database or the bus is
 * down, processes freeze. Crashes are process.c's, and what is lost on the way that of bus.c and connection.c.
 */
#include "sim.h"

uint32_t faults_victim(struct world *world)
{
    return sim_below(world, world->settings.processes);
}

/* The server ends transactions that have been idle for too long, or all of them when it goes down. */
static void faults_kill(struct world *world, int64_t idle_ms)
{
    for (uint32_t p = 0; p < world->settings.processes; p++) {
        for (uint32_t l = 0; l < world->settings.lanes && world->processes[p].alive; l++) {
            struct connection *connection = &world->processes[p].lanes[l].connection;
            if (connection->transaction != NULL && world->now_ms - connection->active_ms >= idle_ms)
                connection_kill(connection);
        }
    }
}

static void faults_heirs(struct world *world)
{
    for (uint32_t i = 0; i < world->settings.streams; i++) {
        const struct stream *stream = &world->streams[i];
        bool gone = stream->owner == SIM_NONE || !world->processes[stream->owner].alive;
        if (!gone || sim_below(world, 8) != 0)
            continue;
        uint32_t heir = faults_victim(world);
        if (world->processes[heir].alive && !world->processes[heir].fenced)
            stream_assign(world, i, heir);
    }
}

/* A stream changes hands: its owner hands it over, or it is taken away and the owner hears of it late. Where
 * memberships are rows of the database, the owner is fenced first, and loses all that it has. */
static void faults_rebalance(struct world *world)
{
    uint32_t i = sim_below(world, world->settings.streams);
    struct stream *stream = &world->streams[i];
    world->count.rebalances++;
    if (stream->owner == SIM_NONE)
        return;
    if (sim_below(world, 2) == 0) {
        stream->revoking = stream->revoking == NOT_REVOKING ? REVOKING : stream->revoking;
    } else if (!world->settings.transactional) {
        stream_assign(world, i, faults_victim(world));
    } else if (!process_holds_fence(world, &world->processes[stream->owner])) {
        uint32_t owner = stream->owner;
        process_fence(&world->processes[owner]);
        for (uint32_t s = 0; s < world->settings.streams; s++)
            if (world->streams[s].owner == owner)
                world->streams[s].owner = SIM_NONE;
    }
}

static void faults_outage(struct world *world)
{
    int64_t until_ms = world->now_ms + sim_below(world, 3000);
    if (sim_below(world, 2)) {
        world->bus_down_ms = until_ms;
        return;
    }
    world->store_down_ms = until_ms;
    if (sim_below(world, 2)) /* the server, not the way to it */
        faults_kill(world, 0);
}

void faults_some(struct world *world)
{
    const struct settings *s = &world->settings;
    faults_heirs(world);
    if (sim_odds(world, s->rebalance))
        faults_rebalance(world);
    if (sim_odds(world, s->outage))
        faults_outage(world);
    if (sim_odds(world, s->freeze))
        world->processes[faults_victim(world)].frozen_ms = world->now_ms + sim_below(world, 4000);
    faults_kill(world, 1000);
    transactions_settle(world);
    if (sim_below(world, 64) == 0)
        database_operator(world);
}

void faults_end(struct world *world)
{
    world->calm = true;
    world->bus_down_ms = world->store_down_ms = 0;
    for (uint32_t p = 0; p < world->settings.processes; p++)
        world->processes[p].frozen_ms = 0;
}
