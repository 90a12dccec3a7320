//! berth/abi.h in Rust, as far as a service needs it, and the trampolines that let nothing unwind into the
//! daemon. The numbers in brackets are the rules in abi.h.
#![allow(dead_code)]

use std::ffi::c_void;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::ptr;

pub const ABI_MAJOR: u32 = 0;
pub const ABI_MINOR: u32 = 1; // the least minor of the host that will do

// -- the structs of abi.h: same order, same sizes ----------------------------------------------------

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Str {
    data: *const u8,
    size: u32,
    spare: u32,
}

pub const fn text(text: &'static str) -> Str {
    Str { data: text.as_ptr(), size: text.len() as u32, spare: 0 }
}

impl Str {
    pub(crate) fn borrow(text: &str) -> Str {
        Str { data: text.as_ptr(), size: text.len() as u32, spare: 0 }
    }
    /// What the host says is UTF-8; what is not reads as empty.
    pub(crate) unsafe fn get<'a>(self) -> &'a str {
        if self.size == 0 {
            return "";
        }
        std::str::from_utf8(std::slice::from_raw_parts(self.data, self.size as usize)).unwrap_or("")
    }
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Bytes {
    data: *const c_void,
    size: u64,
    release: Option<unsafe extern "C" fn(*mut c_void)>,
    owner: *mut c_void,
    spare: u64,
}

#[repr(C)]
pub struct Message {
    body: Bytes,
    fds: *const i32,
    fd_count: u32,
    spare: u32,
}

#[repr(C)]
pub struct RawStatus {
    pub(crate) code: i32,
    spare: u32,
    pub(crate) message: Str,
    details: Str,
}

#[repr(C)]
pub struct Method {
    name: Str,
    flags: u32,
    spare: u32,
}

/// A unary method that may block.
pub const fn method(name: &'static str) -> Method {
    Method { name: text(name), flags: 0, spare: 0 }
}

/// One that sends any number of responses with Call::send(); what call() returns is not sent.
pub const fn server_stream(name: &'static str) -> Method {
    Method { name: text(name), flags: SERVER_STREAM, spare: 0 }
}

/// One that takes requests with Call::receive() as well.
pub const fn both_streams(name: &'static str) -> Method {
    Method { name: text(name), flags: CLIENT_STREAM | SERVER_STREAM, spare: 0 }
}

const CLIENT_STREAM: u32 = 1;
const SERVER_STREAM: u32 = 2;
pub(crate) const OK: i32 = 0;
pub(crate) const END: i32 = 2;
pub(crate) const FOREVER: i64 = i64::MAX;

pub enum RawSelf {}
pub enum RawCall {}

pub enum RawTarget {}
pub enum RawClient {}

#[repr(C)]
pub struct CallOptions {
    pub(crate) struct_size: u32,
    pub(crate) header_count: u32,
    pub(crate) headers: *const Header,
    pub(crate) parent: *const RawCall,
    pub(crate) deadline: i64,
}

#[repr(C)]
pub struct Header {
    pub(crate) key: Str,
    pub(crate) value: Str,
    pub(crate) spare: u64,
}

/// berth_host. Slots without a type are not used here.
#[repr(C)]
pub struct HostTable {
    struct_size: u32,
    abi_major: u32,
    abi_minor: u32,
    spare: u32,
    property: unsafe extern "C" fn(*mut RawSelf, Str) -> Str,
    config: unsafe extern "C" fn(*mut RawSelf, Str) -> Str,
    log: unsafe extern "C" fn(*mut RawSelf, u32, Str, *const c_void, u32),
    fail: unsafe extern "C" fn(*mut RawSelf, *const RawStatus),
    alloc: unsafe extern "C" fn(u64) -> *mut c_void,
    dealloc: unsafe extern "C" fn(*mut c_void),
    spawn: *const c_void,
    unhealthy: *const c_void,
    bound: *const c_void,
    pub(crate) connect: unsafe extern "C" fn(*mut RawSelf, Str, u32) -> *mut RawTarget,
    target_property: *const c_void,
    pub(crate) resolve: unsafe extern "C" fn(*mut RawTarget, Str) -> u32,
    header: unsafe extern "C" fn(*const RawCall, Str) -> Str,
    headers: *const c_void,
    deadline: unsafe extern "C" fn(*const RawCall) -> i64,
    cancelled: unsafe extern "C" fn(*const RawCall) -> i32,
    on_cancel: *const c_void,
    peer: *const c_void,
    request: unsafe extern "C" fn(*const RawCall) -> Bytes,
    recv: unsafe extern "C" fn(*mut RawCall, i64, *mut Message) -> i32,
    send: unsafe extern "C" fn(*mut RawCall, *const Message, i64) -> i32,
    on_ready: *const c_void,
    finish: unsafe extern "C" fn(*mut RawCall, *const RawStatus, *const Message),
    forward: *const c_void,
    unary: *const c_void,
    pub(crate) open: unsafe extern "C" fn(*mut RawTarget, u32, *const CallOptions) -> *mut RawClient,
    pub(crate) client_send: unsafe extern "C" fn(*mut RawClient, *const Message, i64) -> i32,
    pub(crate) client_half_close: unsafe extern "C" fn(*mut RawClient),
    pub(crate) client_recv: unsafe extern "C" fn(*mut RawClient, i64, *mut Message) -> i32,
    client_on_ready: *const c_void,
    pub(crate) client_cancel: unsafe extern "C" fn(*mut RawClient),
    pub(crate) client_status: unsafe extern "C" fn(*const RawClient, *mut RawStatus) -> i32,
    pub(crate) client_release: unsafe extern "C" fn(*mut RawClient),
}

impl HostTable {
    /// Bytes in memory of the host, to be given away.
    pub(crate) fn message(&self, bytes: &[u8]) -> Result<Message, Status> {
        let memory = unsafe { (self.alloc)(bytes.len().max(1) as u64) };
        if memory.is_null() {
            return Err(Status::new(Code::ResourceExhausted, "no memory for a message"));
        }
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), memory as *mut u8, bytes.len()) };
        let size = bytes.len() as u64;
        let body = Bytes { data: memory, size, release: Some(self.dealloc), owner: memory, spare: 0 };
        Ok(Message { body, fds: ptr::null(), fd_count: 0, spare: 0 })
    }

    /// Of a message that was not taken.
    pub(crate) fn drop_message(&self, message: Message) {
        unsafe { (self.dealloc)(message.body.owner) }
    }
}

#[repr(C)]
pub struct ServiceTable {
    struct_size: u32,
    method_count: u32,
    name: Str,
    methods: *const Method,
    descriptors: Bytes,
}

#[repr(C)]
pub struct PluginTable {
    struct_size: u32,
    service_count: u32,
    kind: Str,
    id: Str,
    services: *const *const ServiceTable,
    probe: Option<unsafe extern "C" fn(*const HostTable, *mut RawSelf) -> i32>,
    init: unsafe extern "C" fn(*const HostTable, *mut RawSelf, *mut *mut c_void) -> i32,
    start: Option<unsafe extern "C" fn(*mut c_void) -> i32>,
    handle: unsafe extern "C" fn(*mut c_void, u32, u32, *mut RawCall),
    stop: Option<unsafe extern "C" fn(*mut c_void, i64)>,
}

#[repr(C)]
pub struct Module {
    struct_size: u32,
    abi_major: u32,
    abi_minor: u32,
    plugin_count: u32,
    plugins: *const *const PluginTable,
}

// -- what a plugin sees ------------------------------------------------------------------------------

/// Canonical codes, as gRPC has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Code {
    Cancelled = 1,
    Unknown = 2,
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    NotFound = 5,
    AlreadyExists = 6,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    FailedPrecondition = 9,
    Aborted = 10,
    OutOfRange = 11,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
    DataLoss = 15,
    Unauthenticated = 16,
}

#[derive(Debug)]
pub struct Status {
    pub code: Code,
    pub message: String,
}

impl Status {
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Status { code, message: message.into() }
    }

    fn raw(&self) -> RawStatus {
        RawStatus { code: self.code as i32, spare: 0, message: Str::borrow(&self.message), details: text("") }
    }
}

/// This instance, as the host knows it. Both pointers live for ever.
#[derive(Clone, Copy)]
pub struct Host {
    pub(crate) table: &'static HostTable,
    pub(crate) this: *mut RawSelf,
}

impl Host {
    /// A configuration value by dotted path, as text; empty when absent.
    pub fn config(&self, path: &str) -> String {
        unsafe { (self.table.config)(self.this, Str::borrow(path)).get() }.to_string()
    }

    /// "uri", "root", "state", …
    pub fn property(&self, name: &str) -> String {
        unsafe { (self.table.property)(self.this, Str::borrow(name)).get() }.to_string()
    }

    pub fn info(&self, line: &str) {
        unsafe { (self.table.log)(self.this, 2, Str::borrow(line), ptr::null(), 0) }
    }
}

/// A call that is not finished; request and headers are borrowed from it [1].
pub struct Call<'a> {
    table: &'a HostTable,
    pub(crate) raw: *mut RawCall,
}

impl Call<'_> {
    pub fn request(&self) -> &[u8] {
        let bytes = unsafe { (self.table.request)(self.raw) };
        if bytes.size == 0 {
            return &[];
        }
        unsafe { std::slice::from_raw_parts(bytes.data as *const u8, bytes.size as usize) }
    }

    pub fn header(&self, key: &str) -> &str {
        unsafe { (self.table.header)(self.raw, Str::borrow(key)).get() }
    }

    pub fn cancelled(&self) -> bool {
        unsafe { (self.table.cancelled)(self.raw) != 0 }
    }

    /// The next request of a client stream; none after the last one. An error: the caller is gone.
    pub fn receive(&self) -> Result<Option<Received>, Status> {
        let mut message = std::mem::MaybeUninit::uninit();
        match unsafe { (self.table.recv)(self.raw, FOREVER, message.as_mut_ptr()) } {
            OK => Ok(Some(Received(unsafe { message.assume_init() }))),
            END => Ok(None),
            _ => Err(Status::new(Code::Cancelled, "the caller is gone")),
        }
    }

    /// One response of a server stream; waits while the client is slow. An error: it is gone.
    pub fn send(&self, bytes: &[u8]) -> Result<(), Status> {
        let message = self.table.message(bytes)?;
        if unsafe { (self.table.send)(self.raw, &message, FOREVER) } == OK {
            return Ok(());
        }
        self.table.drop_message(message);
        Err(Status::new(Code::Cancelled, "the caller is gone"))
    }

    /// Exactly once [3]. A server stream has no response here.
    fn finish(self, answer: Result<Option<Vec<u8>>, Status>) {
        let refuse = |status: &Status| unsafe { (self.table.finish)(self.raw, &status.raw(), ptr::null()) };
        match answer {
            Err(status) => refuse(&status),
            Ok(None) => unsafe { (self.table.finish)(self.raw, ptr::null(), ptr::null()) },
            Ok(Some(response)) => match self.table.message(&response) {
                Err(status) => refuse(&status),
                Ok(message) => unsafe { (self.table.finish)(self.raw, ptr::null(), &message) },
            },
        }
    }
}

/// A message that came; goes back when it is dropped.
pub struct Received(pub(crate) Message);

impl std::ops::Deref for Received {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match self.0.body.size {
            0 => &[],
            size => unsafe { std::slice::from_raw_parts(self.0.body.data as *const u8, size as usize) },
        }
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        if let Some(release) = self.0.body.release {
            unsafe { release(self.0.body.owner) }
        }
    }
}

/// One plugin with one service.
pub trait Plugin: Sized + Send + Sync + 'static {
    const TYPE: &'static str;
    const ID: &'static str;
    const SERVICE: &'static str;
    const METHODS: &'static [Method];
    const DESCRIPTORS: &'static [u8];

    fn create(host: &Host) -> Result<Self, Status>;
    /// `method` is an index into METHODS. Returns the response in the wire form.
    fn call(&self, method: u32, call: &Call) -> Result<Vec<u8>, Status>;
}

// -- the trampolines ---------------------------------------------------------------------------------

struct Instance<P> {
    host: Host,
    plugin: P,
}

fn panicked(what: Box<dyn std::any::Any + Send>) -> Status {
    let text = what.downcast_ref::<&str>().map(|text| text.to_string());
    let text = text.or_else(|| what.downcast_ref::<String>().cloned());
    Status::new(Code::Internal, format!("panic: {}", text.unwrap_or_default()))
}

unsafe extern "C" fn init<P: Plugin>(host: *const HostTable, this: *mut RawSelf, out: *mut *mut c_void) -> i32 {
    let host = Host { table: &*host, this };
    match catch_unwind(|| P::create(&host)).unwrap_or_else(|what| Err(panicked(what))) {
        Ok(plugin) => {
            // Never freed: a plugin is not unloaded, and late calls may still arrive [11].
            *out = Box::into_raw(Box::new(Instance { host, plugin })) as *mut c_void;
            0
        }
        Err(status) => {
            (host.table.fail)(this, &status.raw());
            status.code as i32
        }
    }
}

unsafe extern "C" fn handle<P: Plugin>(instance: *mut c_void, _service: u32, method: u32, raw: *mut RawCall) {
    let instance = &*(instance as *const Instance<P>);
    let call = Call { table: instance.host.table, raw };
    let answer = catch_unwind(AssertUnwindSafe(|| instance.plugin.call(method, &call)));
    let answer = answer.unwrap_or_else(|what| Err(panicked(what)));
    let streams = P::METHODS[method as usize].flags & SERVER_STREAM != 0;
    call.finish(answer.map(|response| if streams { None } else { Some(response) }));
}

/// Statics that hold pointers to other statics; nobody writes them.
#[repr(transparent)]
pub struct Shared<T>(pub T);
unsafe impl<T> Sync for Shared<T> {}

pub const fn service<P: Plugin>() -> ServiceTable {
    ServiceTable {
        struct_size: std::mem::size_of::<ServiceTable>() as u32,
        method_count: P::METHODS.len() as u32,
        name: text(P::SERVICE),
        methods: P::METHODS.as_ptr(),
        descriptors: Bytes {
            data: P::DESCRIPTORS.as_ptr() as *const c_void,
            size: P::DESCRIPTORS.len() as u64,
            release: None,
            owner: ptr::null_mut(),
            spare: 0,
        },
    }
}

pub const fn plugin<P: Plugin>(services: *const *const ServiceTable) -> PluginTable {
    PluginTable {
        struct_size: std::mem::size_of::<PluginTable>() as u32,
        service_count: 1,
        kind: text(P::TYPE),
        id: text(P::ID),
        services,
        probe: None,
        init: init::<P>,
        start: None,
        handle: handle::<P>,
        stop: None,
    }
}

pub const fn module(plugins: *const *const PluginTable) -> Module {
    Module {
        struct_size: std::mem::size_of::<Module>() as u32,
        abi_major: ABI_MAJOR,
        abi_minor: ABI_MINOR,
        plugin_count: 1,
        plugins,
    }
}

/// The ELF note in which tools and the daemon find plugin.toml without running the plugin.
#[repr(C, align(4))]
pub struct Note<const N: usize> {
    pub name_size: u32,
    pub text_size: u32,
    pub kind: u32,
    pub name: [u8; 8],
    pub text: [u8; N],
}

/// The entry symbol and the manifest of this shared object.
macro_rules! export {
    ($plugin:ty) => {
        #[used]
        #[link_section = ".note.berth.manifest"]
        static BERTH_MANIFEST: $crate::berth::Note<{ include_bytes!("../plugin.toml").len() }> =
            $crate::berth::Note {
                name_size: 6,
                text_size: include_bytes!("../plugin.toml").len() as u32,
                kind: 1,
                name: *b"Berth\0\0\0",
                text: *include_bytes!("../plugin.toml"),
            };
        static BERTH_SERVICE: $crate::berth::Shared<$crate::berth::ServiceTable> =
            $crate::berth::Shared($crate::berth::service::<$plugin>());
        static BERTH_SERVICES: $crate::berth::Shared<[*const $crate::berth::ServiceTable; 1]> =
            $crate::berth::Shared([&BERTH_SERVICE.0]);
        static BERTH_PLUGIN: $crate::berth::Shared<$crate::berth::PluginTable> =
            $crate::berth::Shared($crate::berth::plugin::<$plugin>(BERTH_SERVICES.0.as_ptr()));
        static BERTH_PLUGINS: $crate::berth::Shared<[*const $crate::berth::PluginTable; 1]> =
            $crate::berth::Shared([&BERTH_PLUGIN.0]);
        static BERTH_MODULE: $crate::berth::Shared<$crate::berth::Module> =
            $crate::berth::Shared($crate::berth::module(BERTH_PLUGINS.0.as_ptr()));

        #[no_mangle]
        pub extern "C" fn berth_plugin_entry_v0() -> *const $crate::berth::Module {
            &BERTH_MODULE.0
        }
    };
}
pub(crate) use export;
