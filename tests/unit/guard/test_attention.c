/* How long the master rests, and what wakes it. */
#include "guard/attention.h"

#include "base/clock.h"
#include "check.h"

#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int64_t rest_of(struct suspects *suspects, int64_t active_ago_ms, bool active, int64_t most_ms)
{
    struct attention attention = {.active_ms = clock_monotonic_ms() - active_ago_ms};
    return attention_rest(&attention, suspects, active, most_ms);
}

static void test_it_rests_unless_a_deadline_is_near(void **state)
{
    struct suspects *suspects = suspects_create();
    (void)state;
    assert_non_null(suspects);
    assert_int_equal(rest_of(suspects, 5000, false, INT64_MAX), 1000);
    assert_int_equal(rest_of(suspects, 5000, false, 300), 300);
    assert_int_equal(rest_of(suspects, 5000, false, 50), 100);
    assert_int_equal(rest_of(suspects, 5000, true, INT64_MAX), 100);
    assert_int_equal(rest_of(suspects, 100, false, INT64_MAX), 100);
    suspects_open(suspects, 3, 1, clock_monotonic_ms() + 30000, false);
    assert_int_equal(rest_of(suspects, 5000, false, INT64_MAX), 1000);
    suspects_open(suspects, 3, 1, clock_monotonic_ms() + 1500, false);
    assert_int_equal(rest_of(suspects, 5000, false, INT64_MAX), 100);
    suspects_returned(suspects, 3);
    assert_int_equal(rest_of(suspects, 5000, false, INT64_MAX), 1000);
    suspects_end(suspects);
}

/* Why the master is woken when a worker opens a call while it rests: for the call, or only when the worker ends. */
static int woken_by(struct suspects *suspects, int64_t deadline_ms)
{
    sigset_t set;
    siginfo_t info;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_BLOCK, &set, NULL);
    assert_int_equal(rest_of(suspects, 5000, false, INT64_MAX), 1000);
    pid_t pid = fork();
    if (pid == 0) {
        suspects_open(suspects, 0, 1, deadline_ms, false);
        _exit(0);
    }
    assert_int_equal(sigwaitinfo(&set, &info), SIGCHLD);
    waitpid(pid, NULL, 0);
    siginfo_t end; /* of the process, when the other one was of its call */
    (void)sigtimedwait(&set, &end, &(struct timespec){0});
    attention_over(suspects);
    return info.si_code;
}

static void test_a_call_whose_deadline_is_near_wakes_it(void **state)
{
    struct suspects *suspects = suspects_create();
    (void)state;
    assert_non_null(suspects);
    assert_int_equal(woken_by(suspects, clock_monotonic_ms() + 30000), CLD_EXITED);
    assert_int_equal(woken_by(suspects, clock_monotonic_ms() + 500), SI_USER);
    suspects_end(suspects);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_it_rests_unless_a_deadline_is_near),
                                       cmocka_unit_test(test_a_call_whose_deadline_is_near_wakes_it)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
