/*
 * server.h - a PostgreSQL of one's own for as long as tests run: in a folder of /dev/shm when that has room, else of
 * /tmp, on a socket there, not durable.
 */
#ifndef SLUICE_FLOWTEST_SERVER_H
#define SLUICE_FLOWTEST_SERVER_H

#include "base/error.h"

struct server;

/* Makes and starts it, which takes about a second; as root, it runs as the user postgres or nobody. It ends with this
 * process, whatever ends that. -ENOENT: there is no initdb in PATH or where distributions have it. */
int server_start(struct server **ret, struct error *error);
const char *server_url(const struct server *server);
void server_stop(struct server *server); /* and removes its folder; NULL is fine */

#endif
