/*
 * streams.c - partitions that all topics share, positions with gaps, epochs, and the positions that are committed.
 */
#include "sim.h"

uint64_t stream_key_hash(const struct record *record)
{
    return span_hash(record->key);
}

uint32_t stream_of(const struct world *world, const struct event_state *event)
{
    return (uint32_t)(stream_key_hash(event->record) % world->settings.streams);
}

void stream_append(struct world *world, uint32_t event)
{
    struct event_state *state = &world->events[event];
    struct stream *stream = &world->streams[stream_of(world, state)];
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

void stream_commit(struct world *world, uint32_t number, const struct process *process, struct position position)
{
    struct stream *stream = &world->streams[number];
    if (stream->epoch != process->epochs[number])
        return; /* somebody else has it now */
    if (position_compare(position, stream->committed) < 0)
        sim_fail(world, "the committed position of stream %u went back", number);
    stream->committed = position;
    while (stream->committed_index < stream->count &&
           position_compare(stream->records[stream->committed_index].position, position) <= 0)
        stream->committed_index++;
    check_committed(world, number, process);
}

void stream_assign(struct world *world, uint32_t number, uint32_t process)
{
    struct stream *stream = &world->streams[number];
    stream->owner = process;
    stream->epoch = ++world->next_epoch;
    stream->revoking = NOT_REVOKING;
}

/* Nothing that anybody handles lies above a committed position. */
bool streams_drained(const struct world *world)
{
    for (uint32_t s = 0; s < world->settings.streams; s++) {
        const struct stream *stream = &world->streams[s];
        for (size_t i = stream->count; i > stream->committed_index; i--)
            if (world->events[stream->records[i - 1].event].kind != KIND_DEAD)
                return false;
    }
    return true;
}
