/*
 * test_process.c - the memory that a process may have, from the files of cgroups of both versions.
 */
#include "check.h"

#include "doctor/process.h"

#include <ftw.h>
#include <sys/stat.h>

static char root[] = "/tmp/sluice-test-XXXXXX";

static void put(const char *path, const char *text)
{
    char whole[512];
    snprintf(whole, sizeof whole, "%s%s", root, path);
    for (char *at = whole + sizeof root; (at = strchr(at, '/')) != NULL; *at++ = '/') {
        *at = '\0';
        mkdir(whole, 0700);
    }
    FILE *file = fopen(whole, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void test_version_2(void **state)
{
    (void)state;
    put("/proc/meminfo", "MemTotal:       16000000 kB\nMemFree: 1 kB\n");
    put("/proc/7/cgroup", "0::/system.slice/sluice.service\n");
    assert_int_equal(process_memory(root, 7), 16000000LL * 1024);
    put("/sys/fs/cgroup/system.slice/sluice.service/memory.max", "max\n");
    assert_int_equal(process_memory(root, 7), 16000000LL * 1024);
    put("/sys/fs/cgroup/system.slice/memory.max", "4294967296\n");
    assert_int_equal(process_memory(root, 7), 4294967296LL);
    put("/sys/fs/cgroup/system.slice/sluice.service/memory.max", "536870912\n");
    assert_int_equal(process_memory(root, 7), 536870912);
    put("/proc/8/cgroup", "0::/\n");
    put("/sys/fs/cgroup/memory.max", "268435456\n");
    assert_int_equal(process_memory(root, 8), 268435456);
}

static void test_version_1(void **state)
{
    (void)state;
    put("/proc/9/cgroup", "12:cpu,cpuacct:/x\n4:memory:/box/inner\n1:name=systemd:/y\n");
    put("/sys/fs/cgroup/memory/box/memory.limit_in_bytes", "9223372036854771712\n");
    assert_int_equal(process_memory(root, 9), 16000000LL * 1024);
    put("/sys/fs/cgroup/memory/box/inner/memory.limit_in_bytes", "134217728\n");
    assert_int_equal(process_memory(root, 9), 134217728);
}

static void test_nothing_to_read(void **state)
{
    (void)state;
    assert_int_equal(process_memory("/nowhere", 7), INT64_MAX);
    assert_int_equal(process_limit(0, "Max open files"), INT64_MAX);
    assert_true(process_limit((int)getpid(), "Max open files") > 0);
    assert_int_equal(process_running("/nowhere/pipeline.yaml").pid, 0);
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *place)
{
    (void)status, (void)type, (void)place;
    return remove(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_version_2), cmocka_unit_test(test_version_1),
                                       cmocka_unit_test(test_nothing_to_read)};
    if (mkdtemp(root) == NULL)
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return failed;
}
