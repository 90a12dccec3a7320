//! Other plugins, as a client of them. The numbers in brackets are the rules in berth/abi.h.
#![allow(dead_code)] // not every plugin needs all of it
use crate::berth::{
    Call, CallOptions, Code, Header, Host, HostTable, RawClient, RawTarget, Received, Status, Str, FOREVER, OK,
};
use std::{mem, ptr};

/// A plugin that this one is connected to; lives for ever, any thread.
#[derive(Clone, Copy)]
pub struct Target {
    table: &'static HostTable,
    raw: *mut RawTarget,
}

unsafe impl Send for Target {}
unsafe impl Sync for Target {}

impl Host {
    /// What a requirement of the manifest is bound to; in create() alone.
    pub fn connect(&self, requirement: &str) -> Result<Target, Status> {
        let raw = unsafe { (self.table.connect)(self.this, Str::borrow(requirement), 0) };
        if raw.is_null() {
            return Err(Status::new(Code::Internal, format!("nothing is connected as {}", requirement)));
        }
        Ok(Target { table: self.table, raw })
    }
}

impl Target {
    /// Begins a call of any shape, "package.Service/Method", in the name of `parent`: with its headers,
    /// deadline and cancellation.
    pub fn begin(&self, method: &str, parent: &Call) -> Client {
        self.open(method, &[], parent.raw)
    }

    /// The same for what has to be done also when the parent is cancelled: in its namespace, no more.
    pub fn begin_detached(&self, method: &str, parent: &Call) -> Client {
        let key = "containerd-namespace";
        let header = Header { key: Str::borrow(key), value: Str::borrow(parent.header(key)), spare: 0 };
        self.open(method, &[header], ptr::null())
    }

    fn open(&self, method: &str, headers: &[Header], parent: *const crate::berth::RawCall) -> Client {
        let options = CallOptions {
            struct_size: mem::size_of::<CallOptions>() as u32,
            header_count: headers.len() as u32,
            headers: headers.as_ptr(),
            parent,
            deadline: FOREVER,
        };
        let number = unsafe { (self.table.resolve)(self.raw, Str::borrow(method)) };
        Client { table: self.table, raw: unsafe { (self.table.open)(self.raw, number, &options) } }
    }
}

/// A call that was begun; cancelled when it is dropped before its end [8].
pub struct Client {
    table: &'static HostTable,
    raw: *mut RawClient,
}

impl Client {
    /// One request. Nothing is to be said where the call has ended: its status does.
    pub fn send(&self, bytes: &[u8]) -> Result<(), Status> {
        let message = self.table.message(bytes)?;
        if unsafe { (self.table.client_send)(self.raw, &message, FOREVER) } != OK {
            self.table.drop_message(message);
        }
        Ok(())
    }

    pub fn half_close(&self) {
        unsafe { (self.table.client_half_close)(self.raw) }
    }

    /// The next response; none at the end.
    pub fn receive(&self) -> Option<Received> {
        let mut message = mem::MaybeUninit::uninit();
        match unsafe { (self.table.client_recv)(self.raw, FOREVER, message.as_mut_ptr()) } {
            OK => Some(Received(unsafe { message.assume_init() })),
            _ => None,
        }
    }

    /// How it ended, in the other's own words; after receive() gave none.
    pub fn ended(&self) -> Result<(), Status> {
        let mut status = mem::MaybeUninit::uninit();
        if unsafe { (self.table.client_status)(self.raw, status.as_mut_ptr()) } == 0 {
            return Err(Status::new(Code::Internal, "a call has no status"));
        }
        let status = unsafe { status.assume_init() };
        match status.code {
            0 => Ok(()),
            code => Err(Status::new(code_of(code), unsafe { status.message.get() })),
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        unsafe { (self.table.client_release)(self.raw) }
    }
}

fn code_of(number: i32) -> Code {
    match number {
        1..=16 => unsafe { mem::transmute(number) }, // all of them are codes
        _ => Code::Unknown,
    }
}
