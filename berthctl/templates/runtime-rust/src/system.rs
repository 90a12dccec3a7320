//! The system calls that Rust's library does not have, and why something cannot be done.
use std::ffi::{c_char, c_int, c_uint, c_ulong, c_void, CStr};
use std::io;

/// Canonical status codes, as gRPC has them.
pub const INVALID_ARGUMENT: i32 = 3;
pub const NOT_FOUND: i32 = 5;
pub const ALREADY_EXISTS: i32 = 6;
pub const FAILED_PRECONDITION: i32 = 9;
pub const UNIMPLEMENTED: i32 = 12;

/// A canonical code for programs, a line for people.
#[derive(Debug)]
pub struct Failure {
    pub code: i32,
    pub text: String,
}

pub fn fail<T>(code: i32, text: impl Into<String>) -> Result<T, Failure> {
    Err(Failure { code, text: text.into() })
}

/// What the system says, with the code that fits: "WHAT: No such file or directory".
pub fn failed(what: &str, error: &io::Error) -> Failure {
    let code = match error.raw_os_error() {
        Some(2) => NOT_FOUND,
        Some(17) => ALREADY_EXISTS,
        Some(1) | Some(13) => 7,
        Some(12) | Some(23) | Some(24) | Some(28) | Some(122) => 8,
        Some(38) | Some(95) => UNIMPLEMENTED,
        _ => 13,
    };
    Failure { code, text: format!("{what}: {error}") }
}

mod c {
    use super::*;
    extern "C" {
        pub fn chdir(path: *const c_char) -> c_int;
        pub fn chmod(path: *const c_char, mode: c_uint) -> c_int;
        pub fn chroot(path: *const c_char) -> c_int;
        pub fn close(fd: c_int) -> c_int;
        pub fn kill(pid: c_int, signal: c_int) -> c_int;
        pub fn mkdir(path: *const c_char, mode: c_uint) -> c_int;
        pub fn mknod(path: *const c_char, mode: c_uint, device: u64) -> c_int;
        pub fn mount(source: *const c_char, target: *const c_char, kind: *const c_char, flags: c_ulong, data: *const c_void) -> c_int;
        pub fn setgid(group: c_uint) -> c_int;
        pub fn setgroups(count: usize, groups: *const c_uint) -> c_int;
        pub fn setuid(user: c_uint) -> c_int;
        pub fn unshare(flags: c_int) -> c_int;
        pub fn waitid(kind: c_int, id: c_uint, info: *mut c_void, options: c_int) -> c_int;
    }
}

pub const MS_RDONLY: c_ulong = 1;
pub const MS_NOSUID: c_ulong = 2;
pub const MS_NODEV: c_ulong = 4;
pub const MS_NOEXEC: c_ulong = 8;
pub const MS_NOATIME: c_ulong = 1 << 10;
pub const MS_BIND: c_ulong = 1 << 12;
pub const MS_REC: c_ulong = 1 << 14;
pub const MS_PRIVATE: c_ulong = 1 << 18;
pub const MS_RELATIME: c_ulong = 1 << 21;
pub const MS_STRICTATIME: c_ulong = 1 << 24;

pub const SIGKILL: i32 = 9;
pub const SIGCONT: i32 = 18;
pub const SIGSTOP: i32 = 19;

fn done(result: c_int) -> io::Result<()> {
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

// None of these allocates: they are for a child between fork and exec, too.

pub fn mount(source: &CStr, target: &CStr, kind: &CStr, flags: c_ulong, data: &CStr) -> io::Result<()> {
    done(unsafe { c::mount(source.as_ptr(), target.as_ptr(), kind.as_ptr(), flags, data.as_ptr().cast()) })
}

/// A mount namespace of its own, and those of host names and of IPC; nothing that is mounted in it is seen elsewhere.
pub fn leave_mounts(root: &CStr) -> io::Result<()> {
    const NAMESPACES: c_int = 0x0002_0000 | 0x0400_0000 | 0x0800_0000; // CLONE_NEWNS, NEWUTS, NEWIPC
    done(unsafe { c::unshare(NAMESPACES) })?;
    mount(root, root, root, MS_REC | MS_PRIVATE, root)
}

pub fn make_directory(path: &CStr, mode: u32) -> io::Result<()> {
    done(unsafe { c::mkdir(path.as_ptr(), mode) })
}

/// One of the kernel's memory devices, for everybody.
pub fn make_memory_device(path: &CStr, minor: u64) -> io::Result<()> {
    done(unsafe { c::mknod(path.as_ptr(), 0o020000, 1 << 8 | minor) })?;
    done(unsafe { c::chmod(path.as_ptr(), 0o666) })
}

/// Into a root of its own and a folder in it.
pub fn enter(root: &CStr, here: &CStr, folder: &CStr) -> io::Result<()> {
    done(unsafe { c::chdir(root.as_ptr()) })?;
    done(unsafe { c::chroot(here.as_ptr()) })?;
    done(unsafe { c::chdir(folder.as_ptr()) })
}

pub fn become_user(user: u32, group: u32) -> io::Result<()> {
    done(unsafe { c::setgroups(0, std::ptr::null()) })?;
    done(unsafe { c::setgid(group) })?;
    done(unsafe { c::setuid(user) })
}

/// Of a descriptor that this process has from its parent and nobody here owns.
pub fn close_inherited(fd: i32) {
    unsafe { c::close(fd) };
}

/// A process, or with a negative number a group.
pub fn kill(pid: i32, signal: i32) -> io::Result<()> {
    done(unsafe { c::kill(pid, signal) })
}

/// Until a child has ended, which stays to be waited for: its pid is nobody else's so long.
pub fn wait_for_end(pid: u32) {
    const BY_PID: c_int = 1;
    const EXITED_AND_LEFT: c_int = 4 | 0x0100_0000; // WEXITED, WNOWAIT
    while done(unsafe { c::waitid(BY_PID, pid, std::ptr::null_mut(), EXITED_AND_LEFT) })
        .map_or_else(|error| error.kind() == io::ErrorKind::Interrupted, |()| false)
    {}
}
