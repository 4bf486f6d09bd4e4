//! One call of a handler.

use crate::fields::{bytes_of, str_of};
use crate::raw;
use crate::{Fields, Member, Rows, Text};
use std::ffi::{c_void, CString};
use std::marker::PhantomData;
use std::mem::{size_of, size_of_val};
use std::os::raw::c_char;
use std::ptr;

/// Why a handler ended before its end: a statement that failed, of which the engine knows, or an error, which is a fault
/// of the plugin with its words.
pub struct Stop(pub(crate) Option<String>);

pub type Done = Result<(), Stop>;

impl<E: std::error::Error> From<E> for Stop {
    fn from(error: E) -> Stop {
        Stop(Some(error.to_string()))
    }
}

impl Stop {
    pub fn fault(words: impl Into<String>) -> Stop {
        Stop(Some(words.into()))
    }
}

/// A statement; [`sql!`] makes it. The address of its text is what the engine prepares it under.
pub struct Sql {
    text: &'static str,
}

impl Sql {
    #[doc(hidden)]
    pub const fn ended(text: &'static str) -> Sql {
        Sql { text }
    }
}

/// `static CHARGE: Sql = sql!("select …");`
#[macro_export]
macro_rules! sql {
    ($text:literal) => {
        $crate::Sql::ended(::std::concat!($text, "\0"))
    };
}

/// A parameter of a statement; borrows what it points to.
pub struct Param<'a> {
    row: raw::sluice_param,
    text: Option<raw::sluice_text>,
    of: PhantomData<&'a ()>,
}

/// What goes to the server as one value.
pub trait Single {
    #[doc(hidden)]
    fn param(&self) -> Param<'_>;
}

/// The type of a parameter: durations and sizes go to the server as numbers.
const fn param_type(kind: u32) -> u32 {
    match kind {
        raw::SLUICE_TYPE_DURATION | raw::SLUICE_TYPE_SIZE => raw::SLUICE_TYPE_INT64,
        other => other,
    }
}

fn pointer(kind: u32, values: *const c_void) -> Param<'static> {
    let row =
        raw::sluice_param { form: raw::SLUICE_PARAM_VALUE, r#type: param_type(kind), offset: 0, values, count: 1 };
    Param { row, text: None, of: PhantomData }
}

macro_rules! single {
    ($($type:ty),*) => {$(
        impl Single for $type {
            fn param(&self) -> Param<'_> {
                pointer(<$type as Member>::TYPE, self as *const $type as *const c_void)
            }
        }
    )*};
}
single!(i64, f64, crate::Bool, Text, crate::Json, crate::Duration, crate::Size);

impl Single for str {
    fn param(&self) -> Param<'_> {
        Param { text: Some(text_of(self)), ..pointer(raw::SLUICE_TYPE_TEXT, ptr::null()) }
    }
}

/// A single value: `value(&lane.settings.amount_max)`, `value("a text")`. A duration is its milliseconds, a size its
/// bytes.
pub fn value<T: Single + ?Sized>(of: &T) -> Param<'_> {
    of.param()
}

/// An array of the plugin's own.
pub fn array<T: Member>(values: &[T]) -> Param<'_> {
    let row = raw::sluice_param {
        form: raw::SLUICE_PARAM_ARRAY,
        r#type: param_type(T::TYPE),
        offset: 0,
        values: values.as_ptr() as *const c_void,
        count: values.len(),
    };
    Param { row, text: None, of: PhantomData }
}

fn text_of(text: &str) -> raw::sluice_text {
    raw::sluice_text { at: text.as_ptr() as *const c_char, length: text.len() }
}

/// A text of the header's kind, up to a NUL that stands in it.
pub(crate) fn ended(words: &str) -> CString {
    CString::new(words.split('\0').next().unwrap_or("")).expect("no NUL is left")
}

/// What is known of an event beside its fields.
pub struct Event<'a>(&'a raw::sluice_event);

impl<'a> Event<'a> {
    /// The idempotency key for effects outside the database.
    pub fn id(&self) -> &'a str {
        str_of(&self.0.id)
    }
    pub fn topic(&self) -> &'a str {
        str_of(&self.0.topic)
    }
    pub fn key(&self) -> &'a [u8] {
        bytes_of(&self.0.key)
    }
    pub fn name(&self) -> &'a str {
        str_of(&self.0.name)
    }
    /// The whole event, as JSON; of a request its body.
    pub fn value(&self) -> &'a [u8] {
        bytes_of(&self.0.value)
    }
    /// The object under "data"; of a request body, path and query in one object.
    pub fn data(&self) -> &'a str {
        str_of(&self.0.data)
    }
    pub fn timestamp_ms(&self) -> i64 {
        self.0.timestamp_ms
    }
    /// 1 for the first try in place.
    pub fn attempt(&self) -> u32 {
        self.0.attempt
    }
}

/// One call: `n` is the index of an event in it, for `set_*` also what [`Call::add`] returned. An index, an outcome or a
/// name that does not exist is a fault of the plugin, as in sluice/plugin.h.
pub struct Call<'a, I = ()> {
    raw: *mut raw::sluice_call,
    host: &'a raw::sluice_host,
    inputs: &'a [I],
}

impl<'a, I: Fields> Call<'a, I> {
    /// # Safety
    /// `from` must be what the engine handed to a handler whose input is I, and live for 'a.
    pub(crate) unsafe fn new(from: *mut raw::sluice_call) -> Call<'a, I> {
        let head = &*from;
        let inputs: &[I] = match size_of::<I>() {
            0 => &[],
            _ => std::slice::from_raw_parts(head.inputs as *const I, head.count as usize),
        };
        Call { raw: from, host: &*head.host, inputs }
    }

    pub fn len(&self) -> usize {
        unsafe { (*self.raw).count as usize }
    }
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// The fields of each event, filled and checked.
    pub fn inputs(&self) -> &'a [I] {
        self.inputs
    }
    pub fn event(&self, n: usize) -> Event<'a> {
        assert!(n < self.len(), "event {} of a call that has {}", n, self.len());
        // Built against an older header, the rows are longer than ours.
        let head = unsafe { &*self.raw };
        let step = unsafe { (*head.events).size as usize };
        Event(unsafe { &*((head.events as *const u8).add(n * step) as *const raw::sluice_event) })
    }

    pub fn outcome(&self, n: usize, outcome: usize) {
        unsafe { (self.host.outcome)(self.raw, n, outcome) }
    }
    /// Transient: try again, its key waits.
    pub fn retry(&self, n: usize, why: &str) {
        unsafe { (self.host.retry)(self.raw, n, ended(why).as_ptr()) }
    }
    /// No try can help.
    pub fn reject(&self, n: usize, why: &str) {
        unsafe { (self.host.reject)(self.raw, n, ended(why).as_ptr()) }
    }

    pub fn set_text(&self, n: usize, name: &str, value: &str) {
        unsafe { (self.host.set_text)(self.raw, n, ended(name).as_ptr(), text_of(value)) }
    }
    pub fn set_null(&self, n: usize, name: &str) {
        let none = raw::sluice_text { at: ptr::null(), length: 0 };
        unsafe { (self.host.set_text)(self.raw, n, ended(name).as_ptr(), none) }
    }
    pub fn set_int64(&self, n: usize, name: &str, value: i64) {
        unsafe { (self.host.set_int64)(self.raw, n, ended(name).as_ptr(), value) }
    }
    pub fn set_double(&self, n: usize, name: &str, value: f64) {
        unsafe { (self.host.set_double)(self.raw, n, ended(name).as_ptr(), value) }
    }
    pub fn set_bool(&self, n: usize, name: &str, value: bool) {
        unsafe { (self.host.set_bool)(self.raw, n, ended(name).as_ptr(), value as i32) }
    }
    pub fn set_json(&self, n: usize, name: &str, json: &str) {
        unsafe { (self.host.set_json)(self.raw, n, ended(name).as_ptr(), text_of(json)) }
    }
    /// One more event; returns its `n`, or None when the call made as many as it may.
    pub fn add(&self, outcome: usize) -> Option<usize> {
        Some(unsafe { (self.host.add)(self.raw, outcome) }).filter(|&n| n != usize::MAX)
    }
    /// Answers the request that event `n` is.
    pub fn reply(&self, n: usize, status: u32, json: &str) {
        unsafe { (self.host.reply)(self.raw, n, status, text_of(json), 0) }
    }
    /// Answers it with what may still change: the handler is asked again.
    pub fn reply_pending(&self, n: usize, status: u32, json: &str) {
        unsafe { (self.host.reply)(self.raw, n, status, text_of(json), raw::SLUICE_REPLY_PENDING) }
    }

    /// A column of the inputs as one array: `call.each(|charge| &charge.amount)`.
    pub fn each<T: Member>(&self, of: impl Fn(&I) -> &T) -> Param<'a> {
        let first = self.inputs.first().expect("a handler without fields has no columns");
        let member = of(first);
        let offset = (member as *const T as usize).wrapping_sub(first as *const I as usize);
        assert!(offset.saturating_add(size_of_val(member)) <= size_of::<I>(), "each() takes a member of the input");
        let row =
            raw::sluice_param { form: raw::SLUICE_PARAM_EACH, r#type: T::TYPE, offset, values: ptr::null(), count: 0 };
        Param { row, text: None, of: PhantomData }
    }
    /// Runs a statement in the call's transaction. Hand its error on with `?`.
    pub fn query(&self, sql: &'static Sql, params: &[Param<'_>]) -> Result<Rows<'a>, Stop> {
        let rows: Vec<raw::sluice_param> = params
            .iter()
            .map(|param| match &param.text {
                Some(text) => raw::sluice_param { values: text as *const _ as *const c_void, ..param.row },
                None => param.row,
            })
            .collect();
        let sql = raw::sluice_sql { text: sql.text.as_ptr() as *const c_char };
        let found = unsafe { (self.host.query)(self.raw, &sql, rows.len(), rows.as_ptr()) };
        if found.is_null() {
            return Err(Stop(None));
        }
        Ok(Rows { host: self.host, rows: found })
    }

    /// Something that the whole call needs is unavailable: all of it comes again later.
    pub fn unavailable(&self, why: &str) {
        unsafe { (self.host.unavailable)(self.raw, ended(why).as_ptr()) }
    }
    /// `level`: raw::SLUICE_LOG_INFO and its like.
    pub fn log(&self, level: u32, words: &str) {
        unsafe { (self.host.log)(self.raw, level, ended(words).as_ptr()) }
    }
    pub fn now_ms(&self) -> i64 {
        unsafe { (self.host.now_ms)(self.raw) }
    }
    pub fn time_left_ms(&self) -> i64 {
        unsafe { (self.host.time_left_ms)(self.raw) }
    }
}
