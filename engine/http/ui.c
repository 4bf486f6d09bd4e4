/*
 * ui.c - /ui: the page that is put together from ui/ when this program is built.
 *
 * It is the same for everybody and holds nothing: what it shows, its script asks for as any client does, with the token
 * that its reader types in. The policy lets that script and that style run, by their hashes, and no other; it may ask
 * this listener and nobody else.
 */
#include "http/exchange.h"

#include "base/embed.h"

EMBED(ui_page, "build/ui/ui.html");
EMBED(ui_policy, "build/ui/policy");

enum MHD_Result ui_answer(struct exchange *exchange)
{
    struct buffer page;
    buffer_init(&page, HTTP_PAGE_MAX);
    buffer_text(&page, ui_page);
    exchange->policy = ui_policy;
    return reply_send(exchange, 200, "text/html; charset=utf-8", &page);
}
