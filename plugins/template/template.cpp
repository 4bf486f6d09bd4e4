/*
 * template.cpp - greets whoever an event names; a plugin to start from.
 *
 * Reads   name   who is greeted
 * Sets    greeting
 * Repeats harmless: the same event is given the same greeting
 * Threads one state for each lane, one call at a time; no globals
 */
#include "sluice/plugin.hpp"

namespace
{

/* What an operator may set under `settings:`; the engine has filled it in before any call. */
struct template_state {
    sluice::text word;
};

constexpr auto settings = sluice::fields({
    SLUICE_FIELD(template_state, word).min(1).max(32).optional("Hello").help("the word that greets"),
});

/* What the handler wants to know of an event. The engine checks it: greet() never sees a bad one. */
struct visitor {
    sluice::text name;
};

constexpr auto greet_input = sluice::fields({
    SLUICE_FIELD(visitor, name).min(1).max(64).help("who is greeted"),
});

/* How it can end; pipeline.yaml says where each outcome goes. */
enum { DONE };

constexpr auto greet_outcomes = sluice::outcomes({{"done", "greeted"}});

/* What it may add to the event that goes on. */
constexpr auto greet_sets = sluice::fields({sluice::sets<sluice::text>("greeting").help("the greeting")});

void greet(const template_state &self, sluice::call<visitor> &call)
{
    for (auto event : call) {
        event.set("greeting", self.word.str() + ", " + event->name.str() + "!");
        event.outcome(DONE);
    }
}

constexpr auto handlers = sluice::handlers({
    sluice::handler<greet>("greet", "greet whoever the event names")
        .input(greet_input)
        .outcomes(greet_outcomes)
        .sets(greet_sets)
        .max_events(100),
});

} // namespace

SLUICE_EXPORT_PLUGIN(sluice::plugin<template_state>("template", "1.0.0", "greets whoever an event names")
                         .settings(settings)
                         .handlers(handlers))
