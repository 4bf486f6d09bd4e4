/*
 * server.c - see server.h.
 */
#include "flowtest/server.h"

#include "base/clock.h"
#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <glob.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SERVER_START_MS = 60000, SERVER_CONNECT_MS = 5000, SERVER_ROOM = 512 * 1024 * 1024 };

struct server {
    char folder[64], url[128];
    pid_t pid;         /* 0: not started */
    struct passwd *as; /* NULL: as this process */
    int lock;          /* on the folder */
};

/* The folder of initdb and postgres: what PATH says, else the newest of the distribution's. */
static bool find_binaries(char folder[PATH_MAX])
{
    const char *path = getenv("PATH");
    glob_t found;
    char program[PATH_MAX + 16];
    while (path != NULL && *path != '\0') {
        int length = (int)strcspn(path, ":");
        snprintf(program, sizeof program, "%.*s/initdb", length, path);
        if (length > 0 && access(program, X_OK) == 0 && realpath(program, folder) != NULL) {
            *strrchr(folder, '/') = '\0';
            snprintf(program, sizeof program, "%s/postgres", folder);
            if (access(program, X_OK) == 0)
                return true;
        }
        path += length + (path[length] == ':');
    }
    bool some = glob("/usr/lib/postgresql/*/bin", 0, NULL, &found) == 0 && found.gl_pathc > 0;
    long newest = 0;
    for (size_t i = 0; some && i < found.gl_pathc; i++) {
        long version = strtol(found.gl_pathv[i] + strlen("/usr/lib/postgresql/"), NULL, 10);
        snprintf(program, sizeof program, "%s/initdb", found.gl_pathv[i]);
        if (version > newest && access(program, X_OK) == 0) {
            newest = version;
            snprintf(folder, PATH_MAX, "%s", found.gl_pathv[i]);
        }
    }
    if (some)
        globfree(&found);
    return newest > 0;
}

/* A child with its output in the folder's log, as the server's user. */
static pid_t spawn(const struct server *server, const char *const *argv, int signal_at_end)
{
    char log[128];
    pid_t parent = getpid(), pid = fork();
    if (pid != 0)
        return pid;
    snprintf(log, sizeof log, "%s/log", server->folder);
    (void)setpgid(0, 0); /* an interrupt from the terminal is for the parent, which stops this one */
    if (chdir("/") != 0)
        _exit(127);
    const struct passwd *as = server->as;
    if (as != NULL && (setgroups(0, NULL) != 0 || setgid(as->pw_gid) != 0 || setuid(as->pw_uid) != 0))
        _exit(127);
    int out = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600), in = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (out < 0 || in < 0 || dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(out, 2) < 0)
        _exit(127);
    (void)prctl(PR_SET_PDEATHSIG, signal_at_end); /* after the change of user, which clears it */
    if (getppid() != parent)
        _exit(127);
    execv(argv[0], (char *const *)argv); /* which changes none of them */
    _exit(127);
}

static int initdb(const struct server *server, const char *binaries, struct error *error)
{
    char program[PATH_MAX + 16], data[128];
    int status = 0;
    snprintf(program, sizeof program, "%s/initdb", binaries);
    snprintf(data, sizeof data, "%s/data", server->folder);
    const char *const argv[] = {program, "-D", data,   "-U",         "postgres",  "-A",
                                "trust", "-E", "UTF8", "--locale=C", "--no-sync", NULL};
    pid_t pid = spawn(server, argv, SIGKILL);
    if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
        return error_set(error, EIO, "%s made no database cluster; %s/log says why", program, server->folder);
    return 0;
}

static int wait_until_ready(const struct server *server, struct error *error)
{
    const struct store_options options = {.url = server->url, .application = "sluice test", .allow_unsafe = true};
    struct store *store = NULL;
    int64_t until_ms = clock_monotonic_ms() + SERVER_START_MS;
    int code = store_open(&options, &store, error);
    struct connection *connection = code == 0 ? connection_create(store, NULL) : NULL;
    bool ready = false;
    while (connection != NULL && !ready && clock_monotonic_ms() < until_ms) {
        ready = connection_script(connection, "select 1", SERVER_CONNECT_MS, error) ==
                STORE_OK; /* pauses between tries */
        if (!ready && waitpid(server->pid, NULL, WNOHANG) != 0)
            break;
    }
    connection_destroy(connection);
    store_close(store);
    return ready ? 0 : error_set(error, EIO, "the private PostgreSQL does not start; %s/log says why", server->folder);
}

static int start(struct server *server, struct error *error)
{
    char binaries[PATH_MAX], program[PATH_MAX + 16], data[128];
    if (!find_binaries(binaries)) {
        error_set(error, ENOENT, "these tests need a PostgreSQL, and there is no initdb on this machine");
        return error_hint(error, "set DATABASE_URL to a server on which databases may be made, or install postgresql");
    }
    if (geteuid() == 0) {
        server->as = getpwnam("postgres") != NULL ? getpwnam("postgres") : getpwnam("nobody");
        if (server->as == NULL || chown(server->folder, server->as->pw_uid, server->as->pw_gid) != 0)
            return error_set(error, EPERM, "as root, PostgreSQL must run as the user postgres or nobody");
    }
    int code = initdb(server, binaries, error);
    if (code != 0)
        return code;
    snprintf(program, sizeof program, "%s/postgres", binaries);
    snprintf(data, sizeof data, "%s/data", server->folder);
    const char *const argv[] = {program,
                                "-D",
                                data,
                                "-k",
                                server->folder,
                                "-c",
                                "listen_addresses=",
                                "-c",
                                "fsync=off",
                                "-c",
                                "full_page_writes=off",
                                "-c",
                                "autovacuum=off",
                                "-c",
                                "shared_buffers=32MB",
                                "-c",
                                "max_wal_size=64MB",
                                "-c",
                                "min_wal_size=32MB",
                                "-c",
                                "wal_level=minimal",
                                "-c",
                                "max_wal_senders=0",
                                "-c",
                                "synchronous_commit=off",
                                NULL};
    server->pid = spawn(server, argv, SIGQUIT);
    if (server->pid < 0) {
        server->pid = 0;
        return error_set(error, errno, "no process for PostgreSQL: %s", strerror(errno));
    }
    return wait_until_ready(server, error);
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    (void)status, (void)kind, (void)walk;
    (void)remove(path);
    return 0;
}

static void remove_folder(const char *folder)
{
    (void)nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* Whoever has a folder has a lock on it: one without belongs to a run that was killed. */
static int lock_folder(const char *folder)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

static void remove_left_ones(const char *pattern)
{
    glob_t found;
    if (glob(pattern, 0, NULL, &found) != 0)
        return;
    for (size_t i = 0; i < found.gl_pathc; i++) {
        int fd = lock_folder(found.gl_pathv[i]);
        if (fd < 0)
            continue;
        remove_folder(found.gl_pathv[i]);
        close(fd);
    }
    globfree(&found);
}

/* In memory where there is room for it: a database is some hundred files, which a disk takes longer to make than a test
 * runs. */
static bool make_folder(struct server *server)
{
    struct statvfs room;
    remove_left_ones("/dev/shm/sluice-test.*");
    bool fits = statvfs("/dev/shm", &room) == 0 && (uint64_t)room.f_bavail * room.f_frsize >= SERVER_ROOM;
    for (int i = fits ? 0 : 1; i < 2; i++) {
        snprintf(server->folder, sizeof server->folder, "%s/sluice-test.XXXXXX", i == 0 ? "/dev/shm" : "/tmp");
        if (mkdtemp(server->folder) != NULL && (server->lock = lock_folder(server->folder)) >= 0)
            return true;
    }
    return false;
}

int server_start(struct server **ret, struct error *error)
{
    struct server *server = calloc(1, sizeof *server);
    if (server == NULL)
        return error_set(error, ENOMEM, "out of memory");
    if (!make_folder(server)) {
        free(server);
        return error_set(error, errno, "no folder in /tmp: %s", strerror(errno));
    }
    snprintf(server->url, sizeof server->url, "host=%s user=postgres dbname=postgres", server->folder);
    int code = start(server, error);
    if (code != 0) {
        if (code == -ENOENT)
            (void)rmdir(server->folder);
        free(server); /* its folder stays for its log; the process ends with this one */
        return code;
    }
    *ret = server;
    return 0;
}

const char *server_url(const struct server *server)
{
    return server->url;
}

void server_stop(struct server *server)
{
    if (server == NULL)
        return;
    if (server->pid > 0 && kill(server->pid, SIGQUIT) == 0)
        (void)waitpid(server->pid, NULL, 0);
    remove_folder(server->folder);
    close(server->lock);
    free(server);
}
