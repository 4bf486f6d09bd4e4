/*
 * load_section.c - what every section of the file has: its mapping, the names that are its keys, numbers.
 */
#include "pipeline/load.h"

#include <ctype.h>
#include <stdlib.h>

const char *load_name(struct load *load, const struct node *node, const char *what, size_t most)
{
    bool good = node->kind == NODE_SCALAR && node->text.length > 0 && node->text.length <= most;
    if (node->broken)
        return "?";
    for (size_t i = 0; i < node->text.length && good; i++)
        good = isalnum((unsigned char)node->text.at[i]) || strchr("._-", node->text.at[i]) != NULL;
    if (!good || span_is(node->text, ".") || span_is(node->text, "..")) {
        problem_add(load->problems, node->place, "bad_name",
                    "%s: expected 1 to %zu letters, digits, '.', '_' or '-', got %s", what, most,
                    node_shown(node, load->arena));
        return "?";
    }
    return node->text.at;
}

int64_t load_number(struct node *node, int64_t min, int64_t max, int64_t otherwise)
{
    int64_t number = otherwise;
    if (node == NULL || node->kind != NODE_SCALAR || node->text.length == 0 || node->text.length > 18 ||
        strspn(node->text.at, "0123456789") != node->text.length)
        return otherwise;
    number = strtoll(node->text.at, NULL, 10);
    return number < min || number > max ? otherwise : number;
}

bool load_section(struct load *load, struct node *root, const char *key, struct node **ret)
{
    *ret = node_get(root, key);
    if (*ret != NULL && (*ret)->kind != NODE_MAPPING &&
        !((*ret)->kind == NODE_SCALAR && (*ret)->text.length == 0 && !(*ret)->quoted)) {
        if (!(*ret)->broken)
            problem_add(load->problems, (*ret)->place, "bad_value", "%s: expected a mapping, got %s", key,
                        node_shown(*ret, load->arena));
        *ret = NULL;
    }
    if (*ret != NULL && (*ret)->kind != NODE_MAPPING)
        *ret = NULL; /* `topics:` with nothing under it */
    return *ret != NULL;
}
