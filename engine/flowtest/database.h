/*
 * database.h - a fresh database for each test, whose now() is the test's virtual time.
 *
 * Migrations run once, in a template, and each test gets a copy of it. In these databases `public` is searched before
 * pg_catalog and has functions of its own called now(), clock_timestamp(), statement_timestamp() and
 * transaction_timestamp(): what the engine's and the plugins' statements, functions and defaults call so is the virtual
 * time. current_timestamp and its like are no functions, and stay the server's.
 */
#ifndef SLUICE_FLOWTEST_DATABASE_H
#define SLUICE_FLOWTEST_DATABASE_H

#include "store/migrate.h"

#include <stdio.h>

struct databases;

/* On the server of this url. Nothing is connected yet. */
int databases_open(const char *url, struct databases **ret, struct error *error);
void databases_close(struct databases *databases); /* drops the template; NULL is fine */
/* Makes the template, unless there is one of the same migrations; `warnings` has what in it would not follow the test's
 * time. */
int databases_template(struct databases *databases, const struct migrations *migrations, int64_t wall_ms,
                       FILE *warnings, struct error *error);
/* A copy of it; *ret_url lives until the next one. One at a time: the last one goes. */
int databases_fresh(struct databases *databases, const char **ret_url, struct error *error);
/* While a test runs: drops the last one, and makes the next one when there are `more` tests of this template. */
void databases_ahead(struct databases *databases, bool more);

/* Inside of a test: */
/* Sets what the database's clock says. */
int database_set_clock(struct connection *connection, int64_t wall_ms, struct error *error);
/* Rows of a query as a JSON list of lists, which lives until the connection's next statement. */
int database_rows(struct connection *connection, const char *query, struct span *ret, struct error *error);

#endif
