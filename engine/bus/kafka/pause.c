/*
 * pause.c - see pause.h.
 */
#include "bus/kafka/pause.h"

#include "base/clock.h"
#include "base/condition.h"
#include "bus/kafka/consumer.h"

enum { POLL_AGAIN_MS = 1000 }; /* of a pause: then partitions are paused in librdkafka, and polled */

void kafka_pause_init(struct kafka_pause *pause)
{
    cond_init_monotonic(&pause->wake);
    pthread_mutex_init(&pause->lock, NULL);
}

void kafka_pause_destroy(struct kafka_pause *pause)
{
    pthread_cond_destroy(&pause->wake);
    pthread_mutex_destroy(&pause->lock);
}

void kafka_wake(struct bus_consumer *consumer)
{
    struct kafka_pause *pause = &consumer->pause;
    pthread_mutex_lock(&pause->lock);
    pause->woken = true;
    pthread_cond_signal(&pause->wake);
    rd_kafka_queue_yield(consumer->queue); /* under the lock: kafka_member_rejoin() replaces the queue */
    pthread_mutex_unlock(&pause->lock);
}

bool kafka_pause_take_woken(struct bus_consumer *consumer)
{
    struct kafka_pause *pause = &consumer->pause;
    pthread_mutex_lock(&pause->lock);
    bool woken = pause->woken;
    pause->woken = false;
    pthread_mutex_unlock(&pause->lock);
    return woken;
}

void kafka_pause(struct bus_consumer *consumer, bool paused)
{
    if (paused == consumer->pause.wanted)
        return;
    consumer->pause.wanted = paused;
    consumer->pause.since_ms = clock_monotonic_ms();
}

static void pause_partitions(struct bus_consumer *consumer, bool paused)
{
    const struct kafka_streams *streams = &consumer->streams;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)streams->count);
    for (size_t i = 0; i < streams->count; i++)
        if (streams->list[i].state == KAFKA_STREAM_READING)
            rd_kafka_topic_partition_list_add(list, streams->list[i].topic, streams->list[i].partition);
    (void)(paused ? rd_kafka_pause_partitions(consumer->rk, list) : rd_kafka_resume_partitions(consumer->rk, list));
    rd_kafka_topic_partition_list_destroy(list);
    consumer->pause.partitions_paused = paused;
}

void kafka_pause_resume_partitions(struct bus_consumer *consumer)
{
    if (consumer->pause.partitions_paused)
        pause_partitions(consumer, false);
}

bool kafka_pause_wait(struct bus_consumer *consumer, int timeout_ms)
{
    struct kafka_pause *pause = &consumer->pause;
    int64_t now = clock_monotonic_ms(), poll_again_ms = pause->since_ms + POLL_AGAIN_MS;
    if (!pause->wanted) {
        kafka_pause_resume_partitions(consumer);
        return false;
    }
    if (pause->partitions_paused)
        return false;
    if (now >= poll_again_ms) {
        pause_partitions(consumer, true);
        return false;
    }
    int64_t until_ms = now + timeout_ms < poll_again_ms ? now + timeout_ms : poll_again_ms;
    pthread_mutex_lock(&pause->lock);
    while (!pause->woken && clock_monotonic_ms() < until_ms)
        cond_timedwait_ms(&pause->wake, &pause->lock, until_ms);
    pause->woken = false;
    pthread_mutex_unlock(&pause->lock);
    return true;
}
