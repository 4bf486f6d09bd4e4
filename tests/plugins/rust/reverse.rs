//! reverse.rs - a plugin written from sluice/plugin.h alone, in another language than C, without a crate.
//!
//! It mirrors the structs of the header with #[repr(C)] and keeps to Rust 1.63, the one of Debian 12:
//! rustc --edition 2021 -C panic=abort --crate-type cdylib -o reverse.so reverse.rs
//!
//! Reads   text      what is reversed, character by character
//! Sets    reversed  the text from its end; characters: how many it has
//! Settings  limit   a longer text is rejected

use std::ffi::c_void;
use std::mem::size_of;
use std::os::raw::{c_char, c_int};
use std::ptr::null;

const MAGIC: u64 = 0x000a_6563_6975_6c53;

const TYPE_TEXT: u32 = 1;
const TYPE_INT64: u32 = 2;
const OPTIONAL: u32 = 1;

#[repr(C)]
#[derive(Clone, Copy)]
struct Text {
    at: *const c_char,
    length: usize,
}

#[repr(C)]
struct Field {
    name: *const c_char,
    help: *const c_char,
    fallback: *const c_char,
    choices: *const c_char,
    offset: usize,
    min: i64,
    max: i64,
    kind: u32,
    flags: u32,
    meta: u32,
    reserved: u32,
}

#[repr(C)]
struct Outcome {
    name: *const c_char,
    help: *const c_char,
}

/// The functions of the host up to the last one used here; the engine's own table may be longer.
#[repr(C)]
struct Host {
    size: u32,
    reserved: u32,
    outcome: unsafe extern "C" fn(*mut Call, usize, usize),
    retry: unsafe extern "C" fn(*mut Call, usize, *const c_char),
    reject: unsafe extern "C" fn(*mut Call, usize, *const c_char),
    set_text: unsafe extern "C" fn(*mut Call, usize, *const c_char, Text),
    set_int64: unsafe extern "C" fn(*mut Call, usize, *const c_char, i64),
}

#[repr(C)]
struct Call {
    size: u32,
    count: u32,
    host: *const Host,
    events: *const c_void,
    inputs: *const c_void,
}

#[repr(C)]
struct Handler {
    name: *const c_char,
    help: *const c_char,
    input: *const Field,
    outcomes: *const Outcome,
    sets: *const Field,
    input_size: usize,
    handle: Option<unsafe extern "C" fn(*mut c_void, *mut Call)>,
    max_events: u32,
    kind: u32,
    uses_store: u32,
    reserved: u32,
}

#[repr(C)]
struct Opening {
    size: u32,
    lane: u32,
    fail: unsafe extern "C" fn(*mut Opening, *const c_char),
}

#[repr(C)]
pub struct Plugin {
    magic: u64,
    abi_major: u16,
    abi_minor: u16,
    size: u32,
    handler_size: u32,
    field_size: u32,
    outcome_size: u32,
    reserved: u32,
    name: *const c_char,
    version: *const c_char,
    help: *const c_char,
    settings: *const Field,
    state_size: usize,
    open: Option<unsafe extern "C" fn(*mut c_void, *mut Opening) -> c_int>,
    close: Option<unsafe extern "C" fn(*mut c_void)>,
    handlers: *const Handler,
}

/// Tables hold pointers to constants only, so that threads may share them.
struct Table<T, const N: usize>([T; N]);
unsafe impl<T, const N: usize> Sync for Table<T, N> {}

const fn text(bytes: &'static [u8]) -> *const c_char {
    assert!(bytes[bytes.len() - 1] == 0, "a text for the header ends with a NUL");
    bytes.as_ptr() as *const c_char
}

const NO_FIELD: Field = Field {
    name: null(),
    help: null(),
    fallback: null(),
    choices: null(),
    offset: 0,
    min: 0,
    max: 0,
    kind: 0,
    flags: 0,
    meta: 0,
    reserved: 0,
};

#[repr(C)]
struct State {
    limit: i64,
    calls: i64, /* after the settings: the plugin's own */
}

#[repr(C)]
struct Input {
    text: Text,
}

static SETTINGS: Table<Field, 2> = Table([
    Field {
        name: text(b"limit\0"),
        help: text(b"most bytes of a text\0"),
        fallback: text(b"100\0"),
        min: 1,
        max: 1_000_000,
        kind: TYPE_INT64,
        flags: OPTIONAL,
        ..NO_FIELD
    },
    NO_FIELD,
]);

static INPUT: Table<Field, 2> = Table([
    Field { name: text(b"text\0"), help: text(b"what is reversed\0"), kind: TYPE_TEXT, ..NO_FIELD },
    NO_FIELD,
]);

static SETS: Table<Field, 3> = Table([
    Field { name: text(b"reversed\0"), kind: TYPE_TEXT, ..NO_FIELD },
    Field { name: text(b"characters\0"), kind: TYPE_INT64, ..NO_FIELD },
    NO_FIELD,
]);

const DONE: usize = 0;

static OUTCOMES: Table<Outcome, 2> = Table([
    Outcome { name: text(b"done\0"), help: text(b"reversed\0") },
    Outcome { name: null(), help: null() },
]);

unsafe extern "C" fn reverse(state: *mut c_void, call: *mut Call) {
    let state = &mut *(state as *mut State);
    let host = &*(*call).host;
    let inputs = std::slice::from_raw_parts((*call).inputs as *const Input, (*call).count as usize);
    state.calls += 1;
    for (n, input) in inputs.iter().enumerate() {
        if input.text.length as i64 > state.limit {
            (host.reject)(call, n, text(b"the text is longer than the limit\0"));
            continue;
        }
        let bytes = std::slice::from_raw_parts(input.text.at as *const u8, input.text.length);
        let reversed: String = String::from_utf8_lossy(bytes).chars().rev().collect();
        let value = Text { at: reversed.as_ptr() as *const c_char, length: reversed.len() };
        (host.set_text)(call, n, text(b"reversed\0"), value);
        (host.set_int64)(call, n, text(b"characters\0"), reversed.chars().count() as i64);
        (host.outcome)(call, n, DONE);
    }
}

static HANDLERS: Table<Handler, 2> = Table([
    Handler {
        name: text(b"reverse\0"),
        help: text(b"reverse a text\0"),
        input: INPUT.0.as_ptr(),
        outcomes: OUTCOMES.0.as_ptr(),
        sets: SETS.0.as_ptr(),
        input_size: size_of::<Input>(),
        handle: Some(reverse),
        max_events: 100,
        kind: 0,
        uses_store: 0,
        reserved: 0,
    },
    Handler {
        name: null(),
        help: null(),
        input: null(),
        outcomes: null(),
        sets: null(),
        input_size: 0,
        handle: None,
        max_events: 0,
        kind: 0,
        uses_store: 0,
        reserved: 0,
    },
]);

static PLUGIN: Table<Plugin, 1> = Table([Plugin {
    magic: MAGIC,
    abi_major: 1,
    abi_minor: 0,
    size: size_of::<Plugin>() as u32,
    handler_size: size_of::<Handler>() as u32,
    field_size: size_of::<Field>() as u32,
    outcome_size: size_of::<Outcome>() as u32,
    reserved: 0,
    name: text(b"reverse\0"),
    version: text(b"1.0.0\0"),
    help: text(b"reverses texts, in Rust\0"),
    settings: SETTINGS.0.as_ptr(),
    state_size: size_of::<State>(),
    open: None,
    close: None,
    handlers: HANDLERS.0.as_ptr(),
}]);

#[no_mangle]
pub extern "C" fn sluice_plugin() -> *const Plugin {
    PLUGIN.0.as_ptr()
}
