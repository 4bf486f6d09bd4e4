//! The structs, constants and functions of sluice/plugin.h, each under its name there; its words are there, too.
//! Made from engine/include/abi.txt by tests/check/generated --write. A test compares every size, every place of a
//! member and every constant with those of the header, as a C compiler sees it.
#![allow(non_camel_case_types)]

use std::ffi::c_void;
use std::os::raw::{c_char, c_int};

pub const SLUICE_MAGIC: u64 = 0x000a656369756c53;
pub const SLUICE_ABI_MAJOR: u16 = 1;
pub const SLUICE_ABI_MINOR: u16 = 1;

#[repr(C)]
#[derive(Clone, Copy)]
pub struct sluice_text {
    pub at: *const c_char,
    pub length: usize,
}

pub const SLUICE_TYPE_TEXT: u32 = 1;
pub const SLUICE_TYPE_INT64: u32 = 2;
pub const SLUICE_TYPE_DOUBLE: u32 = 3;
pub const SLUICE_TYPE_BOOL: u32 = 4;
pub const SLUICE_TYPE_JSON: u32 = 5;
pub const SLUICE_TYPE_DURATION: u32 = 6;
pub const SLUICE_TYPE_SIZE: u32 = 7;
pub const SLUICE_TYPE_META_TEXT: u32 = 8;
pub const SLUICE_TYPE_META_INT64: u32 = 9;

pub const SLUICE_META_EVENT_ID: u32 = 1;
pub const SLUICE_META_TOPIC: u32 = 2;
pub const SLUICE_META_KEY: u32 = 3;
pub const SLUICE_META_EVENT_NAME: u32 = 4;
pub const SLUICE_META_TIMESTAMP: u32 = 5;
pub const SLUICE_META_ATTEMPT: u32 = 6;
pub const SLUICE_META_RETRIES_LEFT: u32 = 7;
pub const SLUICE_META_RETRY_COUNT: u32 = 8;

pub const SLUICE_OPTIONAL: u32 = 1;
pub const SLUICE_SECRET: u32 = 2;

pub const SLUICE_NO_MIN: i64 = i64::MIN;
pub const SLUICE_NO_MAX: i64 = i64::MAX;

#[repr(C)]
#[derive(Clone, Copy)]
pub struct sluice_field {
    pub name: *const c_char,
    pub help: *const c_char,
    pub fallback: *const c_char,
    pub choices: *const c_char,
    pub offset: usize,
    pub min: i64,
    pub max: i64,
    pub r#type: u32,
    pub flags: u32,
    pub meta: u32,
    pub nested: u32,
}

/// the answer of a statement
#[repr(C)]
pub struct sluice_rows {
    inside: [u8; 0],
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct sluice_event {
    pub size: u32,
    pub attempt: u32,
    pub id: sluice_text,
    pub topic: sluice_text,
    pub key: sluice_text,
    pub name: sluice_text,
    pub value: sluice_text,
    pub data: sluice_text,
    pub timestamp_ms: i64,
    pub retries_left: i32,
    pub retry_count: i32,
}

pub const SLUICE_PARAM_EACH: u32 = 1;
pub const SLUICE_PARAM_ARRAY: u32 = 2;
pub const SLUICE_PARAM_VALUE: u32 = 3;

#[repr(C)]
#[derive(Clone, Copy)]
pub struct sluice_param {
    pub form: u32,
    pub r#type: u32,
    pub offset: usize,
    pub values: *const c_void,
    pub count: usize,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct sluice_sql {
    pub text: *const c_char,
}

pub const SLUICE_LOG_DEBUG: u32 = 0;
pub const SLUICE_LOG_INFO: u32 = 1;
pub const SLUICE_LOG_WARN: u32 = 2;
pub const SLUICE_LOG_ERROR: u32 = 3;

pub const SLUICE_REPLY_PENDING: u32 = 1;

#[repr(C)]
#[derive(Clone, Copy)]
pub struct sluice_host {
    pub size: u32,
    pub reserved: u32,
    pub outcome: unsafe extern "C" fn(*mut sluice_call, usize, usize),
    pub retry: unsafe extern "C" fn(*mut sluice_call, usize, *const c_char),
    pub reject: unsafe extern "C" fn(*mut sluice_call, usize, *const c_char),
    pub set_text: unsafe extern "C" fn(*mut sluice_call, usize, *const c_char, sluice_text),
    pub set_int64: unsafe extern "C" fn(*mut sluice_call, usize, *const c_char, i64),
    pub set_json: unsafe extern "C" fn(*mut sluice_call, usize, *const c_char, sluice_text),
    pub add: unsafe extern "C" fn(*mut sluice_call, usize) -> usize,
    pub reply: unsafe extern "C" fn(*mut sluice_call, usize, u32, sluice_text, u32),
    pub query: unsafe extern "C" fn(*mut sluice_call, *const sluice_sql, usize, *const sluice_param) -> *const sluice_rows,
    pub row_count: unsafe extern "C" fn(*const sluice_rows) -> usize,
    pub is_null: unsafe extern "C" fn(*const sluice_rows, usize, usize) -> c_int,
    pub get_int64: unsafe extern "C" fn(*const sluice_rows, usize, usize) -> i64,
    pub get_double: unsafe extern "C" fn(*const sluice_rows, usize, usize) -> f64,
    pub get_text: unsafe extern "C" fn(*const sluice_rows, usize, usize) -> sluice_text,
    pub log: unsafe extern "C" fn(*mut sluice_call, u32, *const c_char),
    pub now_ms: unsafe extern "C" fn(*mut sluice_call) -> i64,
    pub time_left_ms: unsafe extern "C" fn(*mut sluice_call) -> i64,
    pub unavailable: unsafe extern "C" fn(*mut sluice_call, *const c_char),
    pub set_double: unsafe extern "C" fn(*mut sluice_call, usize, *const c_char, f64),
    pub set_bool: unsafe extern "C" fn(*mut sluice_call, usize, *const c_char, i32),
    pub fault: unsafe extern "C" fn(*mut sluice_call, *const c_char),
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct sluice_call {
    pub size: u32,
    pub count: u32,
    pub host: *const sluice_host,
    pub events: *const sluice_event,
    pub inputs: *const c_void,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct sluice_outcome {
    pub name: *const c_char,
    pub help: *const c_char,
}

pub const SLUICE_EVENT: u32 = 0;
pub const SLUICE_REQUEST: u32 = 1;
pub const SLUICE_SCHEDULE: u32 = 2;

#[repr(C)]
#[derive(Clone, Copy)]
pub struct sluice_handler {
    pub name: *const c_char,
    pub help: *const c_char,
    pub input: *const sluice_field,
    pub outcomes: *const sluice_outcome,
    pub sets: *const sluice_field,
    pub input_size: usize,
    pub handle: Option<unsafe extern "C" fn(*mut c_void, *mut sluice_call)>,
    pub max_events: u32,
    pub kind: u32,
    pub uses_store: u32,
    pub reserved: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct sluice_opening {
    pub size: u32,
    pub lane: u32,
    pub fail: unsafe extern "C" fn(*mut sluice_opening, *const c_char),
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct sluice_plugin {
    pub magic: u64,
    pub abi_major: u16,
    pub abi_minor: u16,
    pub size: u32,
    pub handler_size: u32,
    pub field_size: u32,
    pub outcome_size: u32,
    pub reserved: u32,
    pub name: *const c_char,
    pub version: *const c_char,
    pub help: *const c_char,
    pub settings: *const sluice_field,
    pub state_size: usize,
    pub open: Option<unsafe extern "C" fn(*mut c_void, *mut sluice_opening) -> c_int>,
    pub close: Option<unsafe extern "C" fn(*mut c_void)>,
    pub handlers: *const sluice_handler,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct sluice_note {
    pub owner_size: u32,
    pub content_size: u32,
    pub r#type: u32,
    pub owner: [c_char; 8],
    pub abi_major: u16,
    pub abi_minor: u16,
    pub size: u32,
    pub handler_size: u32,
    pub field_size: u32,
    pub outcome_size: u32,
    pub name: [c_char; 68],
    pub version: [c_char; 68],
    pub reserved: [u32; 2],
}
