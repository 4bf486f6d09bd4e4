/*
 * main.c - names the concrete buses and hands them down; nobody else knows them.
 */
#include "bus/open.h"
#include "cli/cli.h"

static const struct buses buses = {
    .memory = bus_memory_open,
    .postgres = bus_postgres_open,
    .kafka = bus_kafka_open,
};

int main(int argc, char **argv)
{
    return cli_main(argc, argv, &buses);
}
