/*
 * doctor.c - see doctor.h.
 */
#include "doctor/doctor.h"

static const struct checks *const subjects[] = {&file_checks,  &server_checks,  &broker_checks,
                                                &state_checks, &machine_checks, &running_checks};
enum { SUBJECT_COUNT = sizeof subjects / sizeof subjects[0] };

const char *health_word(enum health health)
{
    static const char *const words[] = {
        [HEALTH_GOOD] = "good", [HEALTH_UNCHECKED] = "not checked", [HEALTH_WARNS] = "warns", [HEALTH_BAD] = "bad"};
    return words[health];
}

static enum health examine_one(struct exam *exam, const char *subject, const struct check *check,
                               const struct doctor_view *view)
{
    exam->check = check;
    exam->finding_count = exam->further = 0;
    exam->health = HEALTH_GOOD;
    if (view->begins != NULL)
        view->begins(check, view->context);
    check->look(exam);
    view->ends(&(struct examined){.subject = subject,
                                  .check = check,
                                  .health = exam->health,
                                  .findings = exam->findings,
                                  .count = exam->finding_count,
                                  .further = exam->further},
               view->context);
    return exam->health;
}

enum health doctor_examine(struct exam *exam, const struct doctor_view *view)
{
    struct finding findings[EXAM_FINDINGS_MAX];
    enum health worst = HEALTH_GOOD;
    exam->findings = findings;
    for (size_t s = 0; s < SUBJECT_COUNT; s++)
        for (size_t i = 0; i < subjects[s]->count; i++) {
            enum health health = examine_one(exam, subjects[s]->subject, &subjects[s]->list[i], view);
            worst = health > worst ? health : worst;
        }
    exam->findings = NULL;
    connection_destroy(exam->connection);
    exam->connection = NULL;
    return worst;
}

void doctor_reference(struct buffer *out)
{
    for (size_t s = 0; s < SUBJECT_COUNT; s++) {
        buffer_format(out, "%s## %s\n\n| check | what it finds | cure |\n|---|---|---|\n", s == 0 ? "" : "\n",
                      subjects[s]->subject);
        for (size_t i = 0; i < subjects[s]->count; i++)
            buffer_format(out, "| `%s` | %s | %s |\n", subjects[s]->list[i].name, subjects[s]->list[i].finds,
                          subjects[s]->list[i].cure);
    }
}
