/*
 * series.c - the metrics of requests: a series for each route of the pipeline, for each of the admin's and of the
 * operators', and for all other targets together.
 */
#include "http/exchange.h"

static struct http_series *series_of_route(struct http *http, const char *route)
{
    struct http_series *series = arena_new(http->arena, struct http_series);
    series->route = route;
    series->seconds = metrics_series(http->metrics, METRIC_REQUEST_SECONDS, route, NULL);
    return series;
}

static struct http_series *series_of_request(struct http *http, const struct request *request)
{
    return series_of_route(http, arena_format(http->arena, "%s %s", request->method, request->path));
}

void http_series_create(struct http *http)
{
    size_t count = 0, requests = http->pipeline->request_count, admins = admin_index(NULL), managed;
    const struct request *management = management_routes(http->management, &managed);
    http->series = arena_array(http->arena, struct http_series *, requests + admins + managed + 1);
    for (size_t i = 0; i < requests; i++)
        http->series[count++] = series_of_request(http, &http->pipeline->requests[i]);
    for (size_t i = 0; i < admins; i++)
        http->series[count++] = series_of_route(http, admin_path(i));
    http->series[count++] = series_of_route(http, "other");
    for (size_t i = 0; i < managed; i++)
        http->series[count++] = series_of_request(http, &management[i]);
}
