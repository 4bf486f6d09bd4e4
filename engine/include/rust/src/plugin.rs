//! The descriptor, and the border: nothing unwinds into the engine.

use crate::call::ended;
use crate::fields::{keep, keep_fields, keep_text};
use crate::{raw, Call, Done, Field, Fields};
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::ffi::c_void;
use std::marker::PhantomData;
use std::mem::size_of;
use std::ops::{Deref, DerefMut};
use std::os::raw::{c_char, c_int};
use std::panic::{self, AssertUnwindSafe};
use std::ptr;

/// What a lane keeps: the settings, which the engine fills, and a state of the plugin's own, when it has one.
#[repr(C)]
pub struct Lane<S = (), T = ()> {
    pub settings: S,
    pub state: Opened<T>,
}

/// A state: there from `Open::open` to the end.
pub struct Opened<T>(Option<Box<T>>);

impl<T> Deref for Opened<T> {
    type Target = T;
    fn deref(&self) -> &T {
        self.0.as_ref().expect("a state is opened before its first call")
    }
}
impl<T> DerefMut for Opened<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.as_mut().expect("a state is opened before its first call")
    }
}

/// A state that is made from the settings, and dropped when the lane ends.
pub trait Open<S>: Sized + 'static {
    fn open(settings: &S, lane: u32) -> Result<Self, String>;
}
impl<S> Open<S> for () {
    fn open(_: &S, _: u32) -> Result<(), String> {
        Ok(())
    }
}

/// A row of the table of handlers.
pub struct Handler<S, T> {
    name: String,
    help: String,
    outcomes: Vec<(String, String)>,
    sets: Vec<Field>,
    input: Vec<Field>,
    input_size: usize,
    handle: unsafe extern "C" fn(*mut c_void, *mut raw::sluice_call),
    max_events: u32,
    kind: u32,
    uses_store: bool,
    of: PhantomData<(S, T)>,
}

/// A handler of events: a function that captures nothing. It takes one event a call unless it says more.
pub fn handler<S, T, I, F>(name: &str, help: &str, function: F) -> Handler<S, T>
where
    S: Fields,
    T: Open<S>,
    I: Fields,
    F: for<'a, 'b> Fn(&'a mut Lane<S, T>, &'a Call<'b, I>) -> Done + Copy + 'static,
{
    assert!(size_of::<F>() == 0, "a handler is a function, or a closure that captures nothing");
    let _ = function;
    Handler {
        name: name.to_string(),
        help: help.to_string(),
        outcomes: Vec::new(),
        sets: Vec::new(),
        input: I::fields(),
        input_size: size_of::<I>(),
        handle: handle::<S, T, I, F>,
        max_events: 1,
        kind: raw::SLUICE_EVENT,
        uses_store: false,
        of: PhantomData,
    }
}

impl<S, T> Handler<S, T> {
    /// The names that `routes:` uses and what they mean, the most frequent first.
    pub fn outcomes(self, rows: &[(&str, &str)]) -> Self {
        let outcomes = rows.iter().map(|(name, help)| (name.to_string(), help.to_string())).collect();
        Handler { outcomes, ..self }
    }
    /// Every field that it may lay over the data.
    pub fn sets(self, sets: Vec<Field>) -> Self {
        Handler { sets, ..self }
    }
    pub fn max_events(self, max_events: u32) -> Self {
        Handler { max_events, ..self }
    }
    /// It calls query().
    pub fn uses_store(self) -> Self {
        Handler { uses_store: true, ..self }
    }
    /// It answers HTTP requests.
    pub fn request(self) -> Self {
        Handler { kind: raw::SLUICE_REQUEST, ..self }
    }
    /// It gets the ticks of a schedule.
    pub fn schedule(self) -> Self {
        Handler { kind: raw::SLUICE_SCHEDULE, ..self }
    }

    fn keep(&self) -> raw::sluice_handler {
        let mut outcomes: Vec<_> = self
            .outcomes
            .iter()
            .map(|(name, help)| raw::sluice_outcome { name: keep_text(Some(name)), help: keep_text(Some(help)) })
            .collect();
        outcomes.push(raw::sluice_outcome { name: ptr::null(), help: ptr::null() });
        raw::sluice_handler {
            name: keep_text(Some(&self.name)),
            help: keep_text(Some(&self.help)),
            input: keep_fields(&self.input),
            outcomes: if self.outcomes.is_empty() { ptr::null() } else { keep(outcomes) },
            sets: keep_fields(&self.sets),
            input_size: self.input_size,
            handle: Some(self.handle),
            max_events: self.max_events,
            kind: self.kind,
            uses_store: self.uses_store as u32,
            reserved: 0,
        }
    }
}

/// For [`plugin!`]: the descriptor, made once and kept for ever.
#[doc(hidden)]
pub fn export<S: Fields, T: Open<S>>(
    name: &str,
    version: &str,
    help: &str,
    handlers: Vec<Handler<S, T>>,
) -> *const raw::sluice_plugin {
    note_panics();
    let mut rows: Vec<_> = handlers.iter().map(Handler::keep).collect();
    rows.push(raw::sluice_handler {
        name: ptr::null(),
        help: ptr::null(),
        input: ptr::null(),
        outcomes: ptr::null(),
        sets: ptr::null(),
        input_size: 0,
        handle: None,
        max_events: 0,
        kind: 0,
        uses_store: 0,
        reserved: 0,
    });
    keep(vec![raw::sluice_plugin {
        magic: raw::SLUICE_MAGIC,
        abi_major: raw::SLUICE_ABI_MAJOR,
        abi_minor: raw::SLUICE_ABI_MINOR,
        size: size_of::<raw::sluice_plugin>() as u32,
        handler_size: size_of::<raw::sluice_handler>() as u32,
        field_size: size_of::<raw::sluice_field>() as u32,
        outcome_size: size_of::<raw::sluice_outcome>() as u32,
        reserved: 0,
        name: keep_text(Some(name)),
        version: keep_text(Some(version)),
        help: keep_text(Some(help)),
        settings: keep_fields(&S::fields()),
        state_size: size_of::<Lane<S, T>>(),
        open: Some(open::<S, T>),
        close: Some(close::<S, T>),
        handlers: keep(rows),
    }])
}

const fn chars<const N: usize>(text: &str) -> [c_char; N] {
    let (bytes, mut kept, mut i) = (text.as_bytes(), [0; N], 0);
    while i < bytes.len() && i + 1 < N {
        kept[i] = bytes[i] as c_char;
        i += 1;
    }
    kept
}

/// For [`plugin!`]: what the file says of itself before it is loaded.
#[doc(hidden)]
pub const fn note(name: &str, version: &str) -> raw::sluice_note {
    raw::sluice_note {
        owner_size: 7,
        content_size: size_of::<raw::sluice_note>() as u32 - 20,
        r#type: 1,
        owner: chars("Sluice"),
        abi_major: raw::SLUICE_ABI_MAJOR,
        abi_minor: raw::SLUICE_ABI_MINOR,
        size: size_of::<raw::sluice_plugin>() as u32,
        handler_size: size_of::<raw::sluice_handler>() as u32,
        field_size: size_of::<raw::sluice_field>() as u32,
        outcome_size: size_of::<raw::sluice_outcome>() as u32,
        name: chars(name),
        version: chars(version),
        reserved: [0; 2],
    }
}

/// Defines the one exported function, and the note of the file.
#[macro_export]
macro_rules! plugin {
    (name: $name:expr, version: $version:expr, help: $help:expr, handlers: [$($handler:expr),* $(,)?] $(,)?) => {
        #[used]
        #[link_section = ".note.sluice"]
        static SLUICE_NOTE: $crate::raw::sluice_note = $crate::note($name, $version);
        #[no_mangle]
        pub extern "C" fn sluice_plugin() -> *const $crate::raw::sluice_plugin {
            static ONCE: ::std::sync::Once = ::std::sync::Once::new();
            static MADE: ::std::sync::atomic::AtomicPtr<$crate::raw::sluice_plugin> =
                ::std::sync::atomic::AtomicPtr::new(::std::ptr::null_mut());
            ONCE.call_once(|| {
                let made = $crate::export($name, $version, $help, ::std::vec![$($handler),*]);
                MADE.store(made as *mut _, ::std::sync::atomic::Ordering::Release);
            });
            MADE.load(::std::sync::atomic::Ordering::Acquire)
        }
    };
}

thread_local! {
    static INSIDE: Cell<bool> = Cell::new(false); // a panic here is the engine's to tell
    static PLACE: RefCell<String> = RefCell::new(String::new());
}

/// The place of a panic is known to the hook alone. Other threads' panics are told as ever.
fn note_panics() {
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if !INSIDE.with(Cell::get) {
            return before(info);
        }
        let place = info.location().map(|at| format!("{}:{}", at.file(), at.line())).unwrap_or_default();
        PLACE.with(|kept| *kept.borrow_mut() = place);
    }));
}

/// What `act` returns, or the words of its panic.
fn guarded<R>(act: impl FnOnce() -> R) -> Result<R, String> {
    INSIDE.with(|inside| inside.set(true));
    let ended = panic::catch_unwind(AssertUnwindSafe(act));
    INSIDE.with(|inside| inside.set(false));
    ended.map_err(|payload| format!("panic at {}: {}", PLACE.with(|place| place.take()), words_of(&*payload)))
}

fn words_of(payload: &(dyn Any + Send)) -> &str {
    match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
        (Some(words), _) => words,
        (_, Some(words)) => words,
        _ => "of a type that is no text",
    }
}

unsafe extern "C" fn handle<S, T, I, F>(state: *mut c_void, from: *mut raw::sluice_call)
where
    S: Fields,
    T: Open<S>,
    I: Fields,
    F: for<'a, 'b> Fn(&'a mut Lane<S, T>, &'a Call<'b, I>) -> Done + Copy + 'static,
{
    // A function has no bytes, and handler() was given this one: any pointer that is not null is one to it.
    let function: &F = ptr::NonNull::<F>::dangling().as_ref();
    let words = match guarded(|| function(&mut *(state as *mut Lane<S, T>), &Call::<I>::new(from))) {
        Ok(Ok(())) => None,
        Ok(Err(stop)) => stop.0,
        Err(words) => Some(words),
    };
    if let Some(words) = words {
        ((*(*from).host).fault)(from, ended(&words).as_ptr());
    }
}

unsafe extern "C" fn open<S: Fields, T: Open<S>>(state: *mut c_void, opening: *mut raw::sluice_opening) -> c_int {
    let lane = &mut *(state as *mut Lane<S, T>);
    let words = match guarded(|| T::open(&lane.settings, (*opening).lane)) {
        Ok(Ok(own)) => {
            ptr::write(&mut lane.state, Opened(Some(Box::new(own))));
            return 0;
        }
        Ok(Err(words)) | Err(words) => words,
    };
    ((*opening).fail)(opening, ended(&words).as_ptr());
    -1
}

/// A lane is zeroed before it is opened, and zeros are no state: `Option<Box<T>>` is None then.
unsafe extern "C" fn close<S: Fields, T: Open<S>>(state: *mut c_void) {
    let lane = &mut *(state as *mut Lane<S, T>);
    if let Err(words) = guarded(|| lane.state.0.take()) {
        eprintln!("a state's drop: {}", words);
    }
}
