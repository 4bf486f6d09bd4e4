//! reverse.rs - reverses texts, in Rust; and fails in each way that the border must hold, when a text asks for it.
//!
//! Reads     text      what is reversed, character by character; "panic", "index" and "error" fail
//! Sets      reversed  the text from its end; characters: how many it has; calls: how many its lane had
//! Settings  limit     a longer text is rejected; 13 is refused, and 14 is by a panic

use sluice::{field, handler, int64, text, Call, Done, Lane, Open, Text};

sluice::fields! {
    struct Settings { limit: i64 = field("limit").min(1).max(1_000_000).fallback("100").help("most bytes of a text") }
}
sluice::fields! {
    struct Input { text: Text = field("text").help("what is reversed") }
}

struct Calls(i64);

impl Open<Settings> for Calls {
    fn open(settings: &Settings, lane: u32) -> Result<Calls, String> {
        match settings.limit {
            13 => Err(format!("13 is no limit of lane {lane}")),
            14 => panic!("14 is no limit"),
            _ => Ok(Calls(0)),
        }
    }
}

fn reverse(lane: &mut Lane<Settings, Calls>, call: &Call<Input>) -> Done {
    lane.state.0 += 1;
    for (n, input) in call.inputs().iter().enumerate() {
        match input.text.as_str() {
            "panic" => panic!("event {} asked for it", call.event(n).id()),
            "index" => call.log(sluice::raw::SLUICE_LOG_INFO, call.inputs()[call.len()].text.as_str()),
            "error" => drop("no number".parse::<i64>()?),
            _ => {}
        }
        if input.text.as_bytes().len() as i64 > lane.settings.limit {
            call.reject(n, "the text is longer than the limit");
            continue;
        }
        let reversed: String = input.text.as_str().chars().rev().collect();
        call.set_text(n, "reversed", &reversed);
        call.set_int64(n, "characters", reversed.chars().count() as i64);
        call.set_int64(n, "calls", lane.state.0);
        call.outcome(n, 0);
    }
    Ok(())
}

sluice::plugin! {
    name: "reverse",
    version: "1.0.0",
    help: "reverses texts, in Rust",
    handlers: [
        handler("reverse", "reverse a text", reverse)
            .outcomes(&[("done", "reversed")])
            .sets(vec![text("reversed"), int64("characters"), int64("calls")])
            .max_events(100),
    ],
}
