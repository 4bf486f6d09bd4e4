/*
 * reverse.cpp - reverses texts, in C++17; and fails in each way that the border must hold, when a text asks for it.
 *
 * Reads     text      what is reversed, byte by byte; "panic", "index" and "error" fail
 * Sets      reversed  the text from its end; characters: how many it has; calls: how many its lane had
 * Settings  limit     a longer text is rejected; 13 is refused, and 14 is by what is no std::exception
 */
#include "sluice/plugin.hpp"

namespace
{

class reverser
{
  public:
    struct settings {
        int64_t limit;
    };
    reverser(const settings &from, uint32_t lane) : limit{from.limit}
    {
        if (limit == 13)
            throw std::invalid_argument{"13 is no limit of lane " + std::to_string(lane)};
        if (limit == 14)
            throw "14 is no limit";
    }
    std::string reversed(std::string_view text)
    {
        last.assign(text.rbegin(), text.rend());
        return last;
    }
    const int64_t limit;
    int64_t calls = 0;

  private:
    std::string last; /* owns something, so that a leak would be seen */
};

struct input {
    sluice::text text;
};

constexpr auto settings = sluice::fields({
    SLUICE_FIELD(reverser::settings, limit).min(1).max(1000000).optional("100").help("most bytes of a text"),
});
constexpr auto reverse_input = sluice::fields({
    SLUICE_FIELD(input, text).help("what is reversed"),
});
constexpr auto reverse_outcomes = sluice::outcomes({{"done", "reversed"}});
constexpr auto reverse_sets = sluice::fields({
    sluice::sets<sluice::text>("reversed"),
    sluice::sets<int64_t>("characters"),
    sluice::sets<int64_t>("calls"),
});

void reverse(reverser &self, sluice::call<input> &call)
{
    self.calls++;
    for (auto event : call) {
        const std::string text = event->text.str();
        if (text == "panic")
            throw std::runtime_error{"event " + sluice::text{event.about().id}.str() + " asked for it"};
        if (text == "index")
            (void)text.at(text.size());
        if (text == "error")
            throw 7;
        if (static_cast<int64_t>(text.size()) > self.limit) {
            event.reject("the text is longer than the limit");
            continue;
        }
        event.set("reversed", self.reversed(text));
        event.set("characters", text.size());
        event.set("calls", self.calls);
        event.outcome(0);
    }
}

constexpr auto handlers = sluice::handlers({
    sluice::handler<reverse>("reverse", "reverse a text")
        .input(reverse_input)
        .outcomes(reverse_outcomes)
        .sets(reverse_sets)
        .max_events(100),
});

} // namespace

SLUICE_EXPORT_PLUGIN(
    sluice::plugin<reverser>("reverse", "1.0.0", "reverses texts, in C++").settings(settings).handlers(handlers))
