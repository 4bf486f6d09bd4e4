/*
 * bus.c - the fake bus: partitions that all topics share, positions with gaps, epochs, and acknowledgements that
 * fail to come.
 */
#include "sim.h"

uint64_t bus_key_hash(uint32_t key)
{
    uint64_t hash = (key + 1) * 0x9e3779b97f4a7c15ull;
    return hash ^ hash >> 29;
}

uint32_t bus_stream_of(const struct world *world, uint32_t key)
{
    return (uint32_t)(bus_key_hash(key) % world->settings.streams);
}

void bus_append(struct world *world, uint32_t event)
{
    struct event_state *state = &world->events[event];
    struct stream *stream = &world->streams[bus_stream_of(world, state->key)];
    stream->records = sim_grow(stream->records, &stream->size, stream->count, sizeof *stream->records);
    uint64_t dice = sim_random(world);
    if (dice % 7 == 0)
        stream->last = (struct position){stream->last.high + 1 + dice / 7 % 3, 0};
    else
        stream->last.low += 1 + (dice % 5 == 0 ? dice / 35 % 9 : 0);
    if (state->first_index == SIM_NONE)
        state->first_index = (uint32_t)stream->count;
    stream->records[stream->count++] = (struct log_record){stream->last, event};
}

bool bus_publish(struct world *world, const uint32_t *events, size_t count)
{
    if (world->bus_down_ms > world->now_ms)
        return false;
    size_t most = sim_odds(world, world->settings.reply_lost) ? sim_below(world, (uint32_t)count + 1) : SIZE_MAX;
    for (size_t i = 0; i < count && i < most; i++)
        bus_append(world, events[i]);
    return most == SIZE_MAX;
}

void bus_commit(struct world *world, uint32_t number, uint32_t epoch, struct position position)
{
    struct stream *stream = &world->streams[number];
    if (stream->epoch != epoch)
        return; /* somebody else has it now */
    if (position_compare(position, stream->committed) < 0)
        sim_fail(world, "the committed position of stream %u went back", number);
    stream->committed = position;
    while (stream->committed_index < stream->count &&
           position_compare(stream->records[stream->committed_index].position, position) <= 0)
        stream->committed_index++;
    check_committed(world, number);
}

void bus_assign(struct world *world, uint32_t number, uint32_t process)
{
    struct stream *stream = &world->streams[number];
    stream->owner = process;
    stream->epoch = ++world->next_epoch;
    stream->revoking = false;
}

/* Nothing that anybody handles lies above a committed position. */
bool bus_drained(const struct world *world)
{
    for (uint32_t s = 0; s < world->settings.streams; s++) {
        const struct stream *stream = &world->streams[s];
        for (size_t i = stream->count; i > stream->committed_index; i--)
            if (world->events[stream->records[i - 1].event].kind != KIND_DEAD)
                return false;
    }
    return true;
}
