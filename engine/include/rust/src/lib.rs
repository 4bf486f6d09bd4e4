//! sluice - handlers of the Sluice engine in Rust: the contract of sluice/plugin.h with types, and without a dependency.
//!
//! A plugin is a `cdylib` that says what it wants with [`fields!`], does it in functions, and names them in [`plugin!`]:
//!
//! ```ignore
//! sluice::fields! {
//!     struct Visitor { name: Text = field("name").min(1).max(64).help("who is greeted") }
//! }
//! fn greet(_: &mut Lane, call: &Call<Visitor>) -> Done {
//!     for (n, visitor) in call.inputs().iter().enumerate() {
//!         call.set_text(n, "greeting", &format!("Hello, {}!", visitor.name));
//!         call.outcome(n, 0);
//!     }
//!     Ok(())
//! }
//! sluice::plugin! {
//!     name: "hello", version: "1.0.0", help: "greets",
//!     handlers: [handler("greet", "greet", greet).outcomes(&[("done", "greeted")]).sets(vec![text("greeting")])],
//! }
//! ```
//!
//! * Ownership: what a call hands out is borrowed from it; what is handed in is copied before the function returns.
//! * Errors: a panic and an `Err` out of a handler are faults of the plugin with their words: the transaction is rolled
//!   back, and the events are handled again, one a call when there were several. The engine and its lane go on. It needs
//!   `panic = "unwind"`, which is the default.
//! * Threads: the engine makes one [`Lane`] for each of its lanes; calls on one never overlap.
//!
//! It keeps to Rust 1.63.
#[cfg(panic = "abort")]
compile_error!("a panic must end the call, not the engine's process: build without panic = \"abort\"");

mod call;
mod fields;
mod plugin;
pub mod raw;
mod rows;

pub use call::{array, value, Call, Done, Event, Param, Single, Sql, Stop};
pub use fields::{boolean, double, field, int64, json, meta, text};
pub use fields::{Bool, Duration, Field, Fields, Json, Member, Meta, Size, Text};
pub use plugin::{export, handler, note, Handler, Lane, Open, Opened};
pub use rows::{Row, Rows};
