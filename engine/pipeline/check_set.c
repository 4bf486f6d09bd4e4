/*
 * check_set.c - what goes wrong between files that work together, each of which is good alone.
 *
 * The files meet at their topics: what one emits another reads, on one bus, with as many partitions, in a group of its
 * own. Where events flow (keys, cycles, fields, the time of a ladder) the checks of one file look at all of them.
 */
#include "pipeline/check.h"

#include <strings.h>

/* A topic as one of the files has it; NULL: that one does not name it. */
static const struct topic *topic_in(const struct check *check, uint32_t number, size_t file)
{
    return pipeline_topic(check->pipelines[file], check->topics[number].list[0]->name);
}

static bool is_handled(const struct topic *topic)
{
    return topic->binding != NULL || topic->watch_count > 0;
}

/* Whether a file other than that one handles, watches or taps the topic. */
static bool read_by_another(const struct check *check, uint32_t number, size_t file)
{
    for (size_t p = 0; p < check->count; p++) {
        const struct topic *topic = p == file ? NULL : topic_in(check, number, p);
        if (topic != NULL && (is_handled(topic) || topic_tapped(check->pipelines[p], topic)))
            return true;
    }
    return false;
}

/* The first file's topic of that number, but for `not`, that is handled there; NULL: nobody handles it. */
static const struct topic *handled_topic(const struct check *check, uint32_t number, const struct topic * not )
{
    const struct shared_topic *shared = &check->topics[number];
    for (size_t i = 0; i < shared->count; i++)
        if (shared->list[i] != not &&is_handled(shared->list[i]))
            return shared->list[i];
    return NULL;
}

/* What is read, and nothing emits to: the name that a misspelt one may have meant. */
static const char *nearest_unfed(const struct check *check, const char *name)
{
    const char **names = arena_array(check->arena, const char *, check->topic_count + 1);
    size_t count = 0;
    for (uint32_t i = 0; i < check->topic_count; i++)
        if (!check->emitted[i] && handled_topic(check, i, NULL) != NULL)
            names[count++] = check->topics[i].list[0]->name;
    return nearest_name(name, names);
}

static void check_elsewhere(const struct check *check, const struct topic *topic, size_t file)
{
    const struct topic *handled = handled_topic(check, topic->number, topic);
    if (topic->elsewhere && !read_by_another(check, topic->number, file)) {
        const char *near = nearest_unfed(check, topic->name);
        problem_add(check->problems, topic->place, "unhandled",
                    "topic '%s' is handled elsewhere, and none of the other files handles, watches or taps it; %s%s%s",
                    topic->name, near != NULL ? "did you mean '" : "give it a handler in one of them, or say final: ",
                    near != NULL ? near : "true", near != NULL ? "', to which nothing emits?" : "");
    } else if (topic->final && !topic->elsewhere && !topic->is_dead_letter && handled != NULL) {
        problem_warn(check->problems, topic->place, "handled_elsewhere",
                     "topic '%s' is final, and %s handles it; say elsewhere: true instead, so that it is found when "
                     "nobody handles it any more",
                     topic->name, check_place(check, handled->place));
    } else if (topic->elsewhere && handled != NULL && !check->emitted[topic->number]) {
        problem_warn(check->problems, handled->place, "never_emitted",
                     "topic '%s' is handled here, and none of the files emits to it, not even %s, which says that it "
                     "is handled elsewhere; add the route that leads there, or remove the topic from both",
                     topic->name, check_place(check, topic->place));
    }
}

struct emits {
    const struct topic *topic;
    bool found;
};

static void find_target(const struct route *route, struct topic *target, void *context)
{
    struct emits *emits = context;
    (void)route;
    emits->found = emits->found || target == emits->topic;
}

static bool is_emitted(const struct pipeline *pipeline, const struct topic *topic)
{
    struct emits emits = {.topic = topic};
    for (size_t i = 0; i < pipeline->binding_count; i++)
        binding_targets(pipeline->bindings[i], find_target, &emits);
    return emits.found;
}

/* One file's dead letters are not another's events. */
static void check_dead_letters(const struct check *check, const struct topic *topic, size_t file)
{
    const struct shared_topic *shared = &check->topics[topic->number];
    const struct topic *dead = NULL;
    for (size_t i = 0; i < shared->count && dead == NULL; i++)
        dead = shared->list[i]->is_dead_letter ? shared->list[i] : NULL;
    if (dead == NULL || topic->is_dead_letter)
        return;
    if (is_handled(topic))
        problem_add(check->problems, topic->place, "dead_letter",
                    "topic '%s' is where the dead letters of %s go, which nothing handles; watch them with a tap, and "
                    "replay them with sluice dead-letter",
                    topic->name, check_place(check, dead->place));
    else if (is_emitted(check->pipelines[file], topic))
        problem_add(check->problems, topic->place, "dead_letter",
                    "topic '%s' is where the dead letters of %s go, and this file emits events to it that are none; "
                    "emit to another topic",
                    topic->name, check_place(check, dead->place));
}

/* ----------------------------------------------------------------------------------------------------- two files */

struct pair {
    const struct check *check;
    const struct pipeline *a, *b; /* what is wrong is reported at b */
    bool one_store;               /* events of both are in one database, and so is the rest */
};

static bool same_text(const char *a, const char *b)
{
    return strcmp(a, b) == 0;
}

/* A retry topic is of one ladder: who reads it takes each of its events for a retry of its own. */
static void check_retry_topics(const struct pair *pair)
{
    for (size_t i = 0; i < pair->b->topic_count; i++) {
        const struct topic *here = pair->b->topics[i], *there = pipeline_topic(pair->a, here->name);
        if (here->ladder_of != NULL && there != NULL && there->ladder_of != NULL)
            problem_add(pair->check->problems, here->ladder_of->place, "same_retry",
                        "retry topic '%s' has the retries of topic '%s' here and of '%s' in %s, and each file would "
                        "handle the other's, too; give each a retry topic of its own",
                        here->name, here->ladder_of->name, there->ladder_of->name,
                        check_place(pair->check, there->ladder_of->place));
    }
}

/* Whether one of the brokers is in both lists. */
static bool share_a_broker(const char *one, const char *other)
{
    static const char between[] = ", \t\n";
    for (const char *a = one + strspn(one, between); *a != '\0'; a += strspn(a, between)) {
        size_t length = strcspn(a, between);
        for (const char *b = other + strspn(other, between); *b != '\0'; b += strspn(b, between)) {
            size_t other_length = strcspn(b, between);
            if (length == other_length && strncasecmp(a, b, length) == 0)
                return true;
            b += other_length;
        }
        a += length;
    }
    return same_text(one, other);
}

static const char *brokers_of(const struct pipeline *pipeline)
{
    for (size_t i = 0; i < pipeline->bus.property_count; i++)
        if (same_text(pipeline->bus.properties[i].name, "bootstrap.servers"))
            return pipeline->bus.properties[i].value;
    return "";
}

/* False: they are not on one bus, and what else differs between them is of no matter. */
static bool check_buses(const struct pair *pair)
{
    static const char *const kinds[] = {"", "memory", "postgres", "kafka"};
    const struct pipeline *a = pair->a, *b = pair->b;
    const char *place = check_place(pair->check, a->bus.place);
    struct problems *problems = pair->check->problems;
    if (a->bus.kind != b->bus.kind) {
        problem_add(problems, b->bus.place, "other_bus",
                    "bus.kind is %s here and %s in %s, so neither gets the other's events; say the same in both",
                    kinds[b->bus.kind], kinds[a->bus.kind], place);
        return false;
    }
    if (a->bus.kind == BUS_CHOICE_MEMORY) {
        problem_add(problems, b->bus.place, "other_bus",
                    "bus: {kind: memory} is within one process, so that neither this file nor %s gets the other's "
                    "events; say postgres or kafka in both",
                    place);
        return false;
    }
    if (!share_a_broker(brokers_of(a), brokers_of(b)))
        problem_warn(problems, b->bus.place, "other_bus",
                     "bus.properties.bootstrap.servers is another here than in %s; if these are not brokers of one "
                     "cluster, neither file gets the other's events",
                     place);
    if (a->bus.kind == BUS_CHOICE_POSTGRES && !same_text(a->store.url, b->store.url))
        problem_warn(problems, b->bus.place, "other_bus",
                     "store.url is another here than in %s; if these do not lead to one database, neither file gets "
                     "the other's events",
                     check_place(pair->check, a->store.place));
    if (a->bus.kind == BUS_CHOICE_POSTGRES && a->bus.partitions != b->bus.partitions)
        problem_add(problems, b->bus.place, "other_partitions",
                    "bus.partitions is %d here and %d in %s, and the log that they share is made once; say the same in "
                    "both",
                    b->bus.partitions, a->bus.partitions, place);
    return true;
}

/* On Kafka whichever file is migrated first makes the topic; of topics that one key goes through, those with other
 * counts are read by other processes. */
static void check_partitions(const struct pair *pair)
{
    const struct pipeline *a = pair->a, *b = pair->b;
    bool said = false; /* what bus.partitions says is said once */
    for (size_t i = 0; a->bus.kind == BUS_CHOICE_KAFKA && i < b->topic_count; i++) {
        const struct topic *here = b->topics[i], *there = pipeline_topic(a, here->name);
        if (there == NULL || here->is_dead_letter || there->is_dead_letter)
            continue;
        int32_t count = here->partitions != 0 ? here->partitions : b->bus.partitions,
                other = there->partitions != 0 ? there->partitions : a->bus.partitions;
        bool by_bus = here->partitions == 0 && there->partitions == 0;
        if (count == other || (by_bus && said))
            continue;
        said = said || by_bus;
        problem_add(pair->check->problems, by_bus ? b->bus.place : here->place, "other_partitions",
                    "topic '%s' has %d partitions here and %d in %s, and is made by whichever is migrated first; say "
                    "the same%s in both",
                    here->name, count, other, check_place(pair->check, by_bus ? a->bus.place : there->place),
                    by_bus ? " bus.partitions" : "");
    }
}

static struct place group_place(const struct pipeline *pipeline, const struct group *group)
{
    return group->tap != NULL ? group->tap->place : pipeline->engine.group_place;
}

static void check_groups(const struct pair *pair)
{
    for (size_t i = 0; i < pair->a->group_count; i++)
        for (size_t j = 0; j < pair->b->group_count; j++) {
            const struct group *there = &pair->a->groups[i], *here = &pair->b->groups[j];
            if (!same_text(there->name, here->name))
                continue;
            problem_add(pair->check->problems, group_place(pair->b, here), "same_group",
                        "the group '%s' is that of %s, too, so each event goes to one of the two only; give each "
                        "file an engine.group of its own",
                        here->name, check_place(pair->check, group_place(pair->a, there)));
            if (here->tap == NULL)
                return; /* its taps' groups are named after it */
        }
}

/* Each group gets each event: right for two things to be done, wrong for one. */
static void check_handled_twice(const struct pair *pair)
{
    const struct pipeline *a = pair->a, *b = pair->b;
    for (size_t i = 0; i < b->topic_count && !same_text(a->engine.group, b->engine.group); i++) {
        const struct topic *here = b->topics[i], *there = pipeline_topic(a, here->name);
        if (there == NULL || there->binding == NULL || here->binding == NULL || here->ladder_of != NULL ||
            !same_text(there->binding->id, here->binding->id))
            continue;
        const char *place = check_place(pair->check, there->place);
        if (pair->one_store)
            problem_add(pair->check->problems, here->place, "same_name",
                        "events of topic '%s' are handled by %s here and in %s, whose database knows by the handler's "
                        "name what was handled, so that each event counts as a duplicate in one of them; handle it in "
                        "one file",
                        here->name, here->binding->id, place);
        else
            problem_warn(pair->check->problems, here->place, "handled_twice",
                         "events of topic '%s' are handled by %s here and in %s: each group gets each event, so what "
                         "it does is done twice; if once is meant, handle it in one file",
                         here->name, here->binding->id, place);
    }
}

static void check_undone_twice(const struct pair *pair, const struct chain *here, const struct chain *there)
{
    for (size_t i = 0; i < here->step_count; i++)
        for (size_t j = 0; j < there->step_count; j++) {
            const struct chain_step *a = &there->steps[j], *b = &here->steps[i];
            if (a->undo != NULL && b->undo != NULL && a->done->number == b->done->number &&
                a->undo->number == b->undo->number)
                problem_add(pair->check->problems, b->place, "undone_twice",
                            "what step '%s' did is undone by chain '%s' of %s, too, and would be undone twice; keep "
                            "the chain in one file",
                            b->name, there->name, check_place(pair->check, there->place));
        }
}

static void same_name(const struct pair *pair, const char *kind, const char *name, struct place here,
                      struct place there)
{
    problem_add(pair->check->problems, here, "same_name",
                "%s '%s' is one of %s, too, and the database that both work in knows it by its name; rename one", kind,
                name, check_place(pair->check, there));
}

static void check_own_names(const struct pair *pair)
{
    const struct pipeline *a = pair->a, *b = pair->b;
    if (same_text(a->name, b->name))
        problem_add(pair->check->problems, b->name_place, "same_name",
                    "the pipeline is called '%s' as that of %s, and commands, logs and metrics know them by name; "
                    "rename one",
                    b->name, check_place(pair->check, a->name_place));
    for (size_t i = 0; i < b->chain_count; i++)
        for (size_t j = 0; j < a->chain_count; j++) {
            if (pair->one_store && same_text(b->chains[i].name, a->chains[j].name))
                same_name(pair, "chain", b->chains[i].name, b->chains[i].place, a->chains[j].place);
            check_undone_twice(pair, &b->chains[i], &a->chains[j]);
        }
    for (size_t i = 0; pair->one_store && i < b->schedule_count; i++)
        for (size_t j = 0; j < a->schedule_count; j++)
            if (same_text(b->schedules[i].name, a->schedules[j].name))
                same_name(pair, "schedule", b->schedules[i].name, b->schedules[i].place, a->schedules[j].place);
}

/* What one may emit and the other takes for too large. */
static void check_sizes(const struct pair *pair)
{
    char small_text[32], large_text[32];
    const struct pipeline *small = pair->a, *large = pair->b;
    if (small->engine.max_event_size > large->engine.max_event_size) {
        small = pair->b;
        large = pair->a;
    }
    for (size_t i = 0; i < small->topic_count && small->engine.max_event_size < large->engine.max_event_size; i++) {
        const struct topic *topic = small->topics[i];
        if (topic->is_dead_letter || !is_handled(topic) || pipeline_topic(large, topic->name) == NULL)
            continue;
        problem_warn(pair->check->problems, topic->place, "other_size",
                     "engine.max_event_size is %s here and %s in %s: an event on topic '%s' that is larger than this "
                     "becomes a dead letter here; say the same in both",
                     size_text(small->engine.max_event_size, small_text),
                     size_text(large->engine.max_event_size, large_text), large->file, topic->name);
        return;
    }
}

static void check_pair(const struct check *check, const struct pipeline *a, const struct pipeline *b)
{
    struct pair pair = {.check = check, .a = a, .b = b, .one_store = b->bus.kind == BUS_CHOICE_POSTGRES};
    if (!check_buses(&pair))
        return;
    check_partitions(&pair);
    check_groups(&pair);
    check_handled_twice(&pair);
    check_retry_topics(&pair);
    check_own_names(&pair);
    check_sizes(&pair);
}

void pipelines_check(const struct pipeline *const *pipelines, size_t count, struct problems *problems)
{
    struct check check;
    struct problems found;
    problems_init(&found, problems->arena);
    check_begin(pipelines, count, &found, &check);
    for (size_t p = 0; p < count; p++)
        for (size_t i = 0; i < pipelines[p]->topic_count; i++) {
            check_elsewhere(&check, pipelines[p]->topics[i], p);
            check_dead_letters(&check, pipelines[p]->topics[i], p);
        }
    for (size_t b = 1; b < count; b++)
        for (size_t a = 0; a < b; a++)
            check_pair(&check, pipelines[a], pipelines[b]);
    check_names(&check);
    check_cycles(&check);
    check_fan_out(&check);
    check_keys(&check);
    check_retains(&check);
    check_holds(&check);
    check_timers(&check);
    check_fields(&check);
    problems_merge(problems, &found);
}
