/*
 * outbox_table.c - what a batch emits to the topics of `outbox_table:`, as rows for Debezium's outbox event router:
 * one statement for all of them, in the batch's transaction.
 */
#include "batch/batch.h"

#include "store/ledger_outbox_table.h"

static struct outbox_table_row row_of(struct batch *batch, const struct output *output)
{
    bool bare = batch->env->config->engine.event_format == FORMAT_BINARY; /* no envelope around the data */
    const struct span value = output->record.value, key = output->record.key;
    size_t data_at = output->data_at - output->value_at;
    struct span trace = record_header(&output->record, HEADER_TRACEPARENT);
    struct outbox_table_row row = {.id = event_id_of(output->id),
                                   .topic = output->record.topic,
                                   .key = output->has_key ? key : output->id,
                                   .data = {value.at + data_at, value.length - data_at - !bare},
                                   .at_ms = batch->wall_ms};
    if (trace.length > 0) /* a line of Java's properties, as Debezium's tracing reads it */
        row.tracing = span_of(arena_format(batch->arena, "%s=%.*s\n", HEADER_TRACEPARENT, (int)trace.length, trace.at));
    return row;
}

void batch_outbox_table(struct batch *batch)
{
    const char *table = batch->env->config->outbox_table.name;
    if (table == NULL || !batch->transaction)
        return;
    struct outbox_table_row *rows = arena_array(batch->arena, struct outbox_table_row, batch->output_count);
    size_t count = 0;
    for (size_t i = 0; i < batch->output_count; i++)
        if (batch->outputs[i].composed && batch->outputs[i].topic->in_outbox_table)
            rows[count++] = row_of(batch, &batch->outputs[i]);
    if (count > 0)
        batch->result = ledger_outbox_table_add(batch->connection, table, rows, count, &batch->error);
}
