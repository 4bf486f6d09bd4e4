/*
 * test_notify.c - what a service manager's socket gets, and what becomes of the environment.
 */
#include "base/notify.h"

#include "base/clock.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

struct manager {
    int file;
    char name[64]; /* as NOTIFY_SOCKET has it */
    char said[256];
};

static void listen_at(struct manager *manager, const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    socklen_t length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name));
    memcpy(address.sun_path, name, strlen(name));
    if (name[0] == '@')
        address.sun_path[0] = '\0';
    manager->file = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(manager->file, (struct sockaddr *)&address, length), 0);
    snprintf(manager->name, sizeof manager->name, "%s", name);
    setenv("NOTIFY_SOCKET", name, 1);
}

/* The next datagram; "": there is none. */
static const char *said(struct manager *manager)
{
    ssize_t length = recv(manager->file, manager->said, sizeof manager->said - 1, 0);
    manager->said[length < 0 ? 0 : length] = '\0';
    return manager->said;
}

static void talk(const char *name)
{
    struct manager manager;
    struct notify notify;
    listen_at(&manager, name);
    setenv("WATCHDOG_USEC", "3000000", 1);
    assert_int_equal(notify_open(&notify, NULL), 0);
    assert_null(getenv("NOTIFY_SOCKET"));
    assert_null(getenv("WATCHDOG_USEC"));
    assert_string_equal(said(&manager), "");

    assert_int_equal(notify_ready(&notify), 0);
    assert_string_equal(said(&manager), "READY=1\nSTATUS=takes work");
    assert_int_equal(notify_ready(&notify), 0);
    assert_string_equal(said(&manager), "");

    assert_int_equal(notify_alive(&notify, 5000), 0);
    assert_string_equal(said(&manager), "WATCHDOG=1");
    assert_int_equal(notify_alive(&notify, 5999), 0);
    assert_string_equal(said(&manager), "");
    assert_int_equal(notify_alive(&notify, 6000), 0);
    assert_string_equal(said(&manager), "WATCHDOG=1");

    assert_int_equal(notify_stopping(&notify, 30000), 0);
    assert_string_equal(said(&manager), "STOPPING=1\nSTATUS=finishes what runs\nEXTEND_TIMEOUT_USEC=30000000");
    assert_int_equal(notify_stopping(&notify, 30000), 0);
    assert_string_equal(said(&manager), "");
    close(manager.file);
}

static void test_path(void **state)
{
    char path[64];
    (void)state;
    snprintf(path, sizeof path, "/tmp/sluice-notify-%d", (int)getpid());
    talk(path);
    unlink(path);
}

static void test_abstract(void **state)
{
    char name[64];
    (void)state;
    snprintf(name, sizeof name, "@sluice-notify-%d", (int)getpid());
    talk(name);
}

static void test_nobody(void **state)
{
    struct notify notify;
    (void)state;
    unsetenv("NOTIFY_SOCKET");
    assert_int_equal(notify_open(&notify, NULL), 0);
    assert_int_equal(notify_ready(&notify), 0);
    assert_int_equal(notify_alive(&notify, 1000000), 0);
    assert_int_equal(notify_stopping(&notify, 1), 0);
    assert_false(notify.ready);
}

static void test_another_kind(void **state)
{
    char path[200];
    const char *const names[] = {"vsock:2:1234", "relative/path", "/", "@", path};
    struct error error = {0};
    struct notify notify;
    (void)state;
    memset(path, 'a', sizeof path - 1);
    path[0] = '/';
    path[sizeof path - 1] = '\0';
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        setenv("NOTIFY_SOCKET", names[i], 1);
        assert_int_equal(notify_open(&notify, &error), -EAFNOSUPPORT);
        assert_non_null(strstr(error.text, "NOTIFY_SOCKET="));
        assert_null(getenv("NOTIFY_SOCKET"));
        assert_int_equal(notify_ready(&notify), 0);
    }
}

static void test_watchdog_of_another_process(void **state)
{
    struct notify notify;
    char pid[24];
    (void)state;
    setenv("WATCHDOG_USEC", "3000000", 1);
    setenv("WATCHDOG_PID", "1", 1);
    assert_int_equal(notify_open(&notify, NULL), 0);
    assert_int_equal(notify.watchdog_ms, 0);
    setenv("WATCHDOG_USEC", "3000000", 1);
    snprintf(pid, sizeof pid, "%d", (int)getpid());
    setenv("WATCHDOG_PID", pid, 1);
    assert_int_equal(notify_open(&notify, NULL), 0);
    assert_int_equal(notify.watchdog_ms, 3000);
    assert_null(getenv("WATCHDOG_PID"));
}

/* What a full socket did not take is said with the next call. */
static void test_full(void **state)
{
    struct manager manager;
    struct notify notify;
    char name[64];
    int r = 0;
    (void)state;
    snprintf(name, sizeof name, "@sluice-notify-full-%d", (int)getpid());
    listen_at(&manager, name);
    setenv("WATCHDOG_USEC", "3000", 1);
    assert_int_equal(notify_open(&notify, NULL), 0);
    for (int64_t now = 1000; r == 0 && now < 1000000000; now += 1000)
        r = notify_alive(&notify, now);
    assert_int_equal(r, -EAGAIN);
    assert_int_equal(notify_ready(&notify), -EAGAIN);
    while (said(&manager)[0] != '\0')
        ;
    assert_int_equal(notify_ready(&notify), 0);
    assert_string_equal(said(&manager), "READY=1\nSTATUS=takes work");
    close(manager.file);
    assert_int_equal(notify_stopping(&notify, 1), -ECONNREFUSED);
}

/* Ready, reloading, ready; a reload of an engine that has not been ready says nothing. */
static void test_reload(void **state)
{
    struct manager manager;
    struct notify notify;
    char name[64];
    (void)state;
    snprintf(name, sizeof name, "@sluice-notify-reload-%d", (int)getpid());
    listen_at(&manager, name);
    assert_int_equal(notify_open(&notify, NULL), 0);
    assert_int_equal(notify_reloading(&notify), 0);
    assert_string_equal(said(&manager), "");
    for (int round = 0; round < 2; round++) {
        for (int times = 0; times < 2; times++)
            assert_int_equal(notify_ready(&notify), 0);
        assert_string_equal(said(&manager), "READY=1\nSTATUS=takes work");
        assert_string_equal(said(&manager), "");
        for (int times = 0; times < 2; times++)
            assert_int_equal(notify_reloading(&notify), 0);
        long long usec = 0, now_usec = clock_monotonic_ms() * 1000;
        assert_int_equal(sscanf(said(&manager), "RELOADING=1\nMONOTONIC_USEC=%lld\nSTATUS=", &usec), 1);
        assert_in_range(usec, now_usec - 60000000, now_usec + 1000);
        assert_string_equal(said(&manager), "");
    }
    close(manager.file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_path),   cmocka_unit_test(test_abstract),
        cmocka_unit_test(test_nobody), cmocka_unit_test(test_another_kind),
        cmocka_unit_test(test_full),   cmocka_unit_test(test_watchdog_of_another_process),
        cmocka_unit_test(test_reload),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
