/*
 * series.c - the metrics of requests: a series for each route of the pipeline, for each of the admin's, and for all
 * other targets together.
 */
#include "http/exchange.h"

static struct http_series *series_of_route(struct http *http, const char *route)
{
    struct http_series *series = arena_new(http->arena, struct http_series);
    series->route = route;
    series->seconds = metrics_series(http->metrics, METRIC_REQUEST_SECONDS, route, NULL);
    return series;
}

void http_series_create(struct http *http)
{
    size_t count = 0, requests = http->pipeline->request_count, admins = admin_index(NULL);
    http->series = arena_array(http->arena, struct http_series *, requests + admins + 1);
    for (size_t i = 0; i < requests; i++) {
        const struct request *request = &http->pipeline->requests[i];
        http->series[count++] = series_of_route(http,
                                                arena_format(http->arena, "%s %s", request->method, request->path));
    }
    for (size_t i = 0; i < admins; i++)
        http->series[count++] = series_of_route(http, admin_path(i));
    http->series[count] = series_of_route(http, "other");
}
