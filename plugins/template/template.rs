//! template - greets whoever an event names; a plugin to start from.
//!
//! Reads    name   who is greeted
//! Sets     greeting
//! Repeats  harmless: the same event is given the same greeting

use sluice::{field, handler, text, Call, Done, Lane, Text};

sluice::fields! {
    /// What an operator may set under `settings:`; the engine has filled it in before any call.
    struct Settings {
        word: Text = field("word").min(1).max(32).fallback("Hello").help("the word that greets"),
    }
}

sluice::fields! {
    /// What the handler wants to know of an event. The engine checks it: greet() never sees a bad one.
    struct Visitor {
        name: Text = field("name").min(1).max(64).help("who is greeted"),
    }
}

/// How it can end; pipeline.yaml says where each outcome goes.
const OUTCOMES: &[(&str, &str)] = &[("done", "greeted")];
const DONE: usize = 0;

fn greeting(word: &str, name: &str) -> String {
    format!("{word}, {name}!")
}

fn greet(lane: &mut Lane<Settings>, call: &Call<Visitor>) -> Done {
    for (n, visitor) in call.inputs().iter().enumerate() {
        call.set_text(n, "greeting", &greeting(lane.settings.word.as_str(), visitor.name.as_str()));
        call.outcome(n, DONE);
    }
    Ok(())
}

sluice::plugin! {
    name: "template",
    version: "1.0.0",
    help: "greets whoever an event names",
    handlers: [
        handler("greet", "greet whoever the event names", greet)
            .outcomes(OUTCOMES)
            .sets(vec![text("greeting").help("the greeting")])
            .max_events(100),
    ],
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_greeting_has_the_word_and_the_name() {
        assert_eq!(super::greeting("Hello", "Böb"), "Hello, Böb!");
    }
}
