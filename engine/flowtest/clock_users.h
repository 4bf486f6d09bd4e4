/*
 * clock_users.h - what of a test's database would tell the server's time instead of the test's, in words for people.
 */
#ifndef SLUICE_FLOWTEST_CLOCK_USERS_H
#define SLUICE_FLOWTEST_CLOCK_USERS_H

#include "store/migrate.h"

#include <stdio.h>

/* Functions, views, defaults and checks that the migrations have made: a line each, with the place in the file where it
 * was made last. */
enum store_result clock_users_made(struct connection *connection, const struct migrations *migrations, FILE *out,
                                   struct error *error);
/* Statements that the session of this connection has prepared: handlers', in the end; a line each. */
enum store_result clock_users_prepared(struct connection *connection, FILE *out, struct error *error);

#endif
