//! What the engine fills, and the tables that describe it.

use crate::raw;
use std::ffi::CString;
use std::os::raw::c_char;
use std::{fmt, ptr, slice, str, time};

/// A text of an event or a setting. It is only ever borrowed: its bytes are the engine's.
#[repr(transparent)]
pub struct Text(raw::sluice_text);

impl Text {
    /// Not there: an optional field that is absent or null.
    pub fn is_absent(&self) -> bool {
        self.0.at.is_null()
    }
    pub fn as_bytes(&self) -> &[u8] {
        bytes_of(&self.0)
    }
    /// Panics when it is no UTF-8, which only an event's key may be.
    pub fn as_str(&self) -> &str {
        str_of(&self.0)
    }
}

impl fmt::Display for Text {
    fn fmt(&self, to: &mut fmt::Formatter) -> fmt::Result {
        to.write_str(self.as_str())
    }
}

pub(crate) fn bytes_of(text: &raw::sluice_text) -> &[u8] {
    if text.at.is_null() {
        return &[];
    }
    // The contract: `length` bytes at `at`, which live as long as what holds the text.
    unsafe { slice::from_raw_parts(text.at as *const u8, text.length) }
}

pub(crate) fn str_of(text: &raw::sluice_text) -> &str {
    str::from_utf8(bytes_of(text)).expect("a text is UTF-8; of a key take the bytes")
}

/// The bytes of a JSON value, as they stand in the event.
#[repr(transparent)]
pub struct Json(Text);

impl Json {
    pub fn is_absent(&self) -> bool {
        self.0.is_absent()
    }
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

#[repr(transparent)]
pub struct Bool(i32);

impl Bool {
    pub fn get(&self) -> bool {
        self.0 != 0
    }
}

/// A setting that is written with its unit: "250ms".
#[repr(transparent)]
pub struct Duration(i64);

impl Duration {
    pub fn get(&self) -> time::Duration {
        time::Duration::from_millis(self.0.max(0) as u64)
    }
}

/// A setting that is written with its unit: "64KiB".
#[repr(transparent)]
pub struct Size(i64);

impl Size {
    pub fn bytes(&self) -> i64 {
        self.0
    }
}

/// A type that the engine fills.
///
/// # Safety
/// TYPE must be that of the header whose member has this layout, and zeros must be a value of it.
pub unsafe trait Member: 'static {
    const TYPE: u32;
}
unsafe impl Member for Text {
    const TYPE: u32 = raw::SLUICE_TYPE_TEXT;
}
unsafe impl Member for i64 {
    const TYPE: u32 = raw::SLUICE_TYPE_INT64;
}
unsafe impl Member for f64 {
    const TYPE: u32 = raw::SLUICE_TYPE_DOUBLE;
}
unsafe impl Member for Bool {
    const TYPE: u32 = raw::SLUICE_TYPE_BOOL;
}
unsafe impl Member for Json {
    const TYPE: u32 = raw::SLUICE_TYPE_JSON;
}
unsafe impl Member for Duration {
    const TYPE: u32 = raw::SLUICE_TYPE_DURATION;
}
unsafe impl Member for Size {
    const TYPE: u32 = raw::SLUICE_TYPE_SIZE;
}

/// What an event says of itself, beside its data. The first four are texts, the others i64.
#[derive(Clone, Copy)]
pub enum Meta {
    EventId = raw::SLUICE_META_EVENT_ID as isize,
    Topic = raw::SLUICE_META_TOPIC as isize,
    Key = raw::SLUICE_META_KEY as isize,
    EventName = raw::SLUICE_META_EVENT_NAME as isize,
    Timestamp = raw::SLUICE_META_TIMESTAMP as isize,
    Attempt = raw::SLUICE_META_ATTEMPT as isize,
    RetriesLeft = raw::SLUICE_META_RETRIES_LEFT as isize,
    RetryCount = raw::SLUICE_META_RETRY_COUNT as isize,
}

/// A row of a table of fields.
pub struct Field {
    name: String,
    help: Option<String>,
    fallback: Option<String>,
    choices: Option<String>,
    min: i64,
    max: i64,
    kind: u32,
    flags: u32,
    meta: u32,
    nested: u32,
    offset: usize,
}

/// A field under its key in the event's data, or in `settings:`. A path, "address.country", reaches into objects of the
/// data, as `.at()` of C++ and `SLUICE_TEXT_AT` of C do.
pub fn field(name: &str) -> Field {
    Field {
        name: name.to_string(),
        help: None,
        fallback: None,
        choices: None,
        min: 0,
        max: 0,
        kind: 0,
        flags: 0,
        meta: 0,
        nested: 0,
        offset: 0,
    }
}

/// A field that is filled from the event itself.
pub fn meta(which: Meta) -> Field {
    Field { meta: which as u32, ..field("") }
}

/// Rows of what a handler `sets`.
pub fn text(name: &str) -> Field {
    Field { kind: raw::SLUICE_TYPE_TEXT, ..field(name) }
}
pub fn int64(name: &str) -> Field {
    Field { kind: raw::SLUICE_TYPE_INT64, ..field(name) }
}
pub fn double(name: &str) -> Field {
    Field { kind: raw::SLUICE_TYPE_DOUBLE, ..field(name) }
}
pub fn boolean(name: &str) -> Field {
    Field { kind: raw::SLUICE_TYPE_BOOL, ..field(name) }
}
pub fn json(name: &str) -> Field {
    Field { kind: raw::SLUICE_TYPE_JSON, ..field(name) }
}

impl Field {
    pub fn help(self, words: &str) -> Field {
        Field { help: Some(words.to_string()), ..self }
    }
    /// A text must be one of these, separated by '|'.
    pub fn choices(self, words: &str) -> Field {
        Field { choices: Some(words.to_string()), ..self }
    }
    pub fn min(self, min: i64) -> Field {
        Field { min, ..self }
    }
    pub fn max(self, max: i64) -> Field {
        Field { max, ..self }
    }
    /// May be absent: then it is absent, or 0.
    pub fn optional(self) -> Field {
        Field { flags: self.flags | raw::SLUICE_OPTIONAL, ..self }
    }
    /// May be absent: then it is this, as it would be written in pipeline.yaml.
    pub fn fallback(self, words: &str) -> Field {
        Field { fallback: Some(words.to_string()), ..self.optional() }
    }
    /// A setting that is printed as *** everywhere.
    pub fn secret(self) -> Field {
        Field { flags: self.flags | raw::SLUICE_SECRET, ..self }
    }

    /// For [`fields!`]: the type and the place of the member.
    #[doc(hidden)]
    pub fn of<T: Member>(self, member: &str, offset: usize) -> Field {
        let kind = match (self.meta, T::TYPE) {
            (0, kind) => kind,
            (_, raw::SLUICE_TYPE_TEXT) => raw::SLUICE_TYPE_META_TEXT,
            _ => raw::SLUICE_TYPE_META_INT64,
        };
        let name = if self.name.is_empty() { member.to_string() } else { self.name };
        let nested = name.contains('.') as u32;
        Field { name, nested, kind, offset, ..self }
    }
}

/// A struct that the engine fills; [`fields!`] makes it one.
///
/// # Safety
/// `fields` must describe members that are there, and every byte of it must be allowed to be zero.
pub unsafe trait Fields: Sized + 'static {
    fn fields() -> Vec<Field>;
}
unsafe impl Fields for () {
    fn fields() -> Vec<Field> {
        Vec::new()
    }
}

/// Declares a struct that the engine fills: `struct Order { amount: i64 = field("amount").min(1).help("points") }`.
#[macro_export]
macro_rules! fields {
    ($(#[$of_all:meta])* $visible:vis struct $name:ident {
        $($(#[$of_one:meta])* $member:ident : $type:ty = $row:expr),* $(,)?
    }) => {
        $(#[$of_all])*
        #[repr(C)]
        $visible struct $name { $($(#[$of_one])* $member: $type),* }
        unsafe impl $crate::Fields for $name {
            fn fields() -> ::std::vec::Vec<$crate::Field> {
                let empty = ::std::mem::MaybeUninit::<$name>::uninit();
                ::std::vec![$({
                    let member = unsafe { ::std::ptr::addr_of!((*empty.as_ptr()).$member) };
                    let offset = member as usize - empty.as_ptr() as usize;
                    $row.of::<$type>(::std::stringify!($member), offset)
                }),*]
            }
        }
    };
}

/// A copy that lives as long as the process, as the engine reads a table whenever it likes. NULL for none.
pub(crate) fn keep_text(words: Option<&str>) -> *const c_char {
    match words {
        None => ptr::null(),
        Some(words) => CString::new(words.replace('\0', " ")).expect("no NUL is left").into_raw(),
    }
}

pub(crate) fn keep<T>(rows: Vec<T>) -> *const T {
    Box::leak(rows.into_boxed_slice()).as_ptr()
}

/// The table of the header; NULL without a row.
pub(crate) fn keep_fields(fields: &[Field]) -> *const raw::sluice_field {
    let end = field("");
    let row = |field: &Field, name: Option<&str>| raw::sluice_field {
        name: keep_text(name),
        help: keep_text(field.help.as_deref()),
        fallback: keep_text(field.fallback.as_deref()),
        choices: keep_text(field.choices.as_deref()),
        offset: field.offset,
        min: field.min,
        max: field.max,
        r#type: field.kind,
        flags: field.flags,
        meta: field.meta,
        nested: field.nested,
    };
    if fields.is_empty() {
        return ptr::null();
    }
    keep(fields.iter().map(|field| row(field, Some(&field.name))).chain([row(&end, None)]).collect())
}
