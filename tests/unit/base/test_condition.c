/*
 * test_condition.c - a timed wait ends at its deadline on the monotonic clock, and at a signal before it.
 */
#include "check.h"

#include "base/clock.h"
#include "base/condition.h"

static void test_timespec(void **state)
{
    (void)state;
    struct timespec at = timespec_of_ms(12345678);
    assert_int_equal(at.tv_sec, 12345);
    assert_int_equal(at.tv_nsec, 678000000);
    at = timespec_of_ms(0);
    assert_int_equal(at.tv_sec, 0);
    assert_int_equal(at.tv_nsec, 0);
    assert_int_equal(timespec_of_ms(999).tv_nsec, 999000000);
    assert_int_equal(timespec_of_ms(INT64_MAX).tv_sec, INT64_MAX / 1000);
}

static void test_deadline(void **state)
{
    (void)state;
    pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_cond_t cond;
    cond_init_monotonic(&cond);
    pthread_mutex_lock(&lock);
    int64_t until_ms = clock_monotonic_ms() + 30;
    while (cond_timedwait_ms(&cond, &lock, until_ms) == 0)
        ;
    assert_true(clock_monotonic_ms() >= until_ms);
    assert_int_equal(cond_timedwait_ms(&cond, &lock, until_ms), ETIMEDOUT);
    assert_int_equal(cond_timedwait_ms(&cond, &lock, 0), ETIMEDOUT);
    pthread_mutex_unlock(&lock);
    pthread_cond_destroy(&cond);
}

struct signalled {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool done;
};

static void *signal_it(void *context)
{
    struct signalled *signalled = context;
    pthread_mutex_lock(&signalled->lock);
    signalled->done = true;
    pthread_cond_signal(&signalled->cond);
    pthread_mutex_unlock(&signalled->lock);
    return NULL;
}

static void test_signal(void **state)
{
    (void)state;
    struct signalled signalled = {.lock = PTHREAD_MUTEX_INITIALIZER};
    cond_init_monotonic(&signalled.cond);
    pthread_mutex_lock(&signalled.lock);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, signal_it, &signalled), 0);
    int64_t until_ms = clock_monotonic_ms() + 60000;
    while (!signalled.done)
        assert_int_equal(cond_timedwait_ms(&signalled.cond, &signalled.lock, until_ms), 0);
    pthread_mutex_unlock(&signalled.lock);
    pthread_join(thread, NULL);
    pthread_cond_destroy(&signalled.cond);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_timespec),
        cmocka_unit_test(test_deadline),
        cmocka_unit_test(test_signal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
