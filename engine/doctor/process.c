/*
 * process.c - see process.h.
 */
#include "doctor/process.h"

#include "base/clock.h"

#include <ctype.h>
#include <dirent.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TEXT_MAX = 8192, STAT_STARTED = 20 /* fields of /proc/PID/stat between its state and the start time, 22 */ };

/* A small file as a text; its length, or -1. */
static ssize_t read_text(const char *path, char *buf, size_t size)
{
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return -1;
    size_t length = fread(buf, 1, size - 1, file);
    fclose(file);
    buf[length] = '\0';
    return (ssize_t)length;
}

/* -------------------------------------------------------------------------------------------------- running engines */

/* Whether a word of its command line is this file, seen from its folder. */
static bool word_is_file(int pid, const char *word, const char *file)
{
    char path[2 * PATH_MAX], folder[PATH_MAX], found[PATH_MAX], link[64];
    snprintf(link, sizeof link, "/proc/%d/cwd", pid);
    ssize_t length = word[0] == '/' ? 0 : readlink(link, folder, sizeof folder - 1);
    if (length < 0)
        return false;
    snprintf(path, sizeof path, "%.*s%s%s", (int)length, folder, length > 0 ? "/" : "", word);
    return realpath(path, found) != NULL && strcmp(found, file) == 0;
}

static bool runs(int pid, const char *file)
{
    char path[64], line[TEXT_MAX];
    snprintf(path, sizeof path, "/proc/%d/cmdline", pid);
    ssize_t length = read_text(path, line, sizeof line);
    bool run = false, is_file = false;
    const char *slash = length <= 0 ? NULL : strrchr(line, '/');
    if (length <= 0 || strcmp(slash == NULL ? line : slash + 1, "sluice") != 0)
        return false;
    for (const char *word = line + strlen(line) + 1; word < line + length; word += strlen(word) + 1) {
        is_file = is_file || (run && word[0] != '-' && word_is_file(pid, word, file));
        run = run || strcmp(word, "run") == 0;
    }
    return is_file;
}

static int64_t started_ms(int pid)
{
    char path[64], line[TEXT_MAX];
    struct timespec boot;
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    if (read_text(path, line, sizeof line) <= 0 || clock_gettime(CLOCK_BOOTTIME, &boot) != 0)
        return -1;
    const char *at = strrchr(line, ')'); /* the name before it may hold anything */
    for (int field = 0; at != NULL && field < STAT_STARTED; field++)
        at = strchr(at + 1, ' ');
    if (at == NULL)
        return -1;
    int64_t ticks = strtoll(at, NULL, 10), up_ms = (int64_t)boot.tv_sec * 1000 + boot.tv_nsec / 1000000;
    return clock_wall_ms() - (up_ms - ticks * 1000 / sysconf(_SC_CLK_TCK));
}

struct process process_running(const char *config)
{
    struct process oldest = {0};
    char file[PATH_MAX];
    DIR *folder = realpath(config, file) == NULL ? NULL : opendir("/proc");
    for (const struct dirent *entry; folder != NULL && (entry = readdir(folder)) != NULL;) {
        int pid = isdigit((unsigned char)entry->d_name[0]) ? (int)strtol(entry->d_name, NULL, 10) : 0;
        int64_t at_ms = pid > 0 && runs(pid, file) ? started_ms(pid) : -1;
        if (at_ms >= 0 && (oldest.pid == 0 || at_ms < oldest.started_ms))
            oldest = (struct process){pid, at_ms};
    }
    if (folder != NULL)
        closedir(folder);
    return oldest;
}

/* ----------------------------------------------------------------------------------------------------------- limits */

int64_t process_limit(int pid, const char *name)
{
    char path[64], text[TEXT_MAX];
    snprintf(path, sizeof path, "/proc/%d/limits", pid);
    const char *row = read_text(path, text, sizeof text) <= 0 ? NULL : strstr(text, name);
    if (row == NULL)
        return INT64_MAX;
    row += strlen(name);
    row += strspn(row, " ");
    return isdigit((unsigned char)*row) ? strtoll(row, NULL, 10) : INT64_MAX;
}

static int64_t least(int64_t limit, const char *path)
{
    char text[64];
    if (read_text(path, text, sizeof text) <= 0 || !isdigit((unsigned char)text[0])) /* "max" */
        return limit;
    int64_t found = strtoll(text, NULL, 10);
    return found < limit ? found : limit;
}

/* The cgroup that a line of /proc/PID/cgroup names, "0::/a/b" or "4:memory:/a/b", and those above it. */
static int64_t cgroup_limit(const char *root, const char *mount, const char *file, const char *group, int64_t limit)
{
    char path[2 * PATH_MAX];
    size_t length = strcspn(group, "\n");
    for (;;) {
        snprintf(path, sizeof path, "%s%s%.*s/%s", root, mount, (int)length, group, file);
        limit = least(limit, path);
        if (length == 0)
            return limit;
        while (length > 0 && group[--length] != '/')
            ;
    }
}

int64_t process_memory(const char *root, int pid)
{
    char path[PATH_MAX], text[TEXT_MAX];
    int64_t limit = INT64_MAX;
    snprintf(path, sizeof path, "%s/proc/meminfo", root);
    const char *total = read_text(path, text, sizeof text) <= 0 ? NULL : strstr(text, "MemTotal:");
    if (total != NULL)
        limit = strtoll(total + strlen("MemTotal:"), NULL, 10) * 1024;
    snprintf(path, sizeof path, "%s/proc/%d/cgroup", root, pid);
    ssize_t length = read_text(path, text, sizeof text);
    for (const char *line = text; length > 0 && line != NULL && *line != '\0';) {
        const char *names = strchr(line, ':'), *group = names == NULL ? NULL : strchr(names + 1, ':');
        if (group == NULL)
            break;
        if (group == names + 1)
            limit = cgroup_limit(root, "/sys/fs/cgroup", "memory.max", group + 1, limit);
        else if (strncmp(names + 1, "memory:", 7) == 0)
            limit = cgroup_limit(root, "/sys/fs/cgroup/memory", "memory.limit_in_bytes", group + 1, limit);
        line = strchr(line, '\n');
        line = line == NULL ? NULL : line + 1;
    }
    return limit;
}
