/*
 * fake_tracer.c - see fake_tracer.h.
 */
#include "fake_tracer.h"

void fake_tracer_init(struct tracer *tracer, double sample)
{
    *tracer = (struct tracer){.sample = sample};
    buffer_init(&tracer->spans, 1 << 20);
}

const char *fake_tracer_take(struct tracer *tracer)
{
    static char taken[1 << 20];
    size_t length = tracer->spans.length < sizeof taken - 1 ? tracer->spans.length : sizeof taken - 1;
    if (length > 0)
        memcpy(taken, tracer->spans.at, length);
    taken[length] = '\0';
    buffer_clear(&tracer->spans);
    tracer->count = 0;
    return taken;
}

void fake_tracer_free(struct tracer *tracer)
{
    buffer_free(&tracer->spans);
}

double tracer_sample(const struct tracer *tracer)
{
    return tracer->sample;
}

const char *tracer_messaging(const struct tracer *tracer)
{
    (void)tracer;
    return "memory";
}

void tracer_add(struct tracer *tracer, const struct buffer *spans, size_t count)
{
    buffer_span(&tracer->spans, buffer_view(spans));
    tracer->count += count;
}
