//! Calls of the C library that std does not make.
use crate::berth::{Code, Status};
use std::ffi::{c_char, c_int, c_long, c_ulong, c_void, CString};
use std::fs::Metadata;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::io::AsRawFd;
use std::path::Path;

pub const RDONLY: c_ulong = 1;
pub const BIND: c_ulong = 4096;
pub const RECURSIVE: c_ulong = 16384;
const PRIVATE: c_ulong = 1 << 18;
const NEW_MOUNTS_AND_FILE_SYSTEM: c_int = 0x20000 | 0x200;
const HERE: c_int = -100; // AT_FDCWD
const NO_FOLLOW: c_int = 0x100;
const LONGEST_VALUE: usize = 65536; // of an attribute, and of a list of their names

#[repr(C)]
struct Timespec {
    seconds: i64,
    nanos: c_long,
}

extern "C" {
    fn mount(source: *const c_char, target: *const c_char, kind: *const c_char, flags: c_ulong, data: *const c_void) -> c_int;
    fn unshare(flags: c_int) -> c_int;
    fn umask(mask: u32) -> u32;
    fn syncfs(fd: c_int) -> c_int;
    fn mkdtemp(template: *mut c_char) -> *mut c_char;
    fn lchown(path: *const c_char, user: u32, group: u32) -> c_int;
    fn mknod(path: *const c_char, mode: u32, device: u64) -> c_int;
    fn utimensat(dir: c_int, path: *const c_char, times: *const Timespec, flags: c_int) -> c_int;
    fn lsetxattr(path: *const c_char, name: *const c_char, value: *const c_void, size: usize, flags: c_int) -> c_int;
    fn lgetxattr(path: *const c_char, name: *const c_char, value: *mut c_void, size: usize) -> isize;
    fn llistxattr(path: *const c_char, list: *mut c_char, size: usize) -> isize;
}

/// What the system says, with the code that fits.
pub fn failed(what: &str, error: &io::Error) -> Status {
    let code = match error.raw_os_error() {
        Some(2) => Code::NotFound,
        Some(1) | Some(13) => Code::PermissionDenied,
        Some(12) | Some(23) | Some(24) | Some(28) | Some(122) => Code::ResourceExhausted,
        _ => Code::Internal,
    };
    Status::new(code, format!("{}: {}", what, error))
}

/// For errors that say what was attempted.
pub trait At<T> {
    fn at(self, what: &Path) -> Result<T, Status>;
}
impl<T> At<T> for io::Result<T> {
    fn at(self, what: &Path) -> Result<T, Status> {
        self.map_err(|error| failed(&what.display().to_string(), &error))
    }
}

fn c_text(bytes: &[u8]) -> io::Result<CString> {
    CString::new(bytes).map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "a name with NUL"))
}

fn c_path(path: &Path) -> io::Result<CString> {
    c_text(path.as_os_str().as_bytes())
}

fn done(code: c_int) -> io::Result<()> {
    match code {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Mounts, root, working directory and umask of this thread's own.
pub fn leave_others() -> io::Result<()> {
    let none = std::ptr::null();
    unsafe {
        done(unshare(NEW_MOUNTS_AND_FILE_SYSTEM))?;
        done(mount(none, b"/\0".as_ptr() as *const c_char, none, RECURSIVE | PRIVATE, none as *const c_void))?;
        umask(0o022);
    }
    Ok(())
}

pub fn mount_at(target: &Path, source: &str, kind: &str, flags: c_ulong, data: &str) -> io::Result<()> {
    let (target, source, kind) = (c_path(target)?, c_text(source.as_bytes())?, c_text(kind.as_bytes())?);
    let data = c_text(data.as_bytes())?;
    done(unsafe { mount(source.as_ptr(), target.as_ptr(), kind.as_ptr(), flags, data.as_ptr() as *const c_void) })
}

pub fn sync_file_system(path: &Path) -> io::Result<()> {
    let file = std::fs::File::open(path)?;
    done(unsafe { syncfs(file.as_raw_fd()) })
}

/// A new directory, named `folder`/mnt-… .
pub fn make_temporary(folder: &Path) -> io::Result<std::path::PathBuf> {
    let mut name = c_path(&folder.join("mnt-XXXXXX"))?.into_bytes_with_nul();
    if unsafe { mkdtemp(name.as_mut_ptr() as *mut c_char) }.is_null() {
        return Err(io::Error::last_os_error());
    }
    name.pop();
    Ok(Path::new(std::ffi::OsStr::from_bytes(&name)).to_path_buf())
}

/// Of a link itself.
pub fn give_to(path: &Path, user: u32, group: u32) -> io::Result<()> {
    done(unsafe { lchown(c_path(path)?.as_ptr(), user, group) })
}

/// Of a link itself.
pub fn set_time(path: &Path, seconds: i64, nanos: u32) -> io::Result<()> {
    let time = || Timespec { seconds, nanos: nanos.into() };
    let times = [time(), time()];
    done(unsafe { utimensat(HERE, c_path(path)?.as_ptr(), times.as_ptr(), NO_FOLLOW) })
}

/// `kind`: as in st_mode.
pub fn make_node(path: &Path, kind: u32, (major, minor): (u32, u32)) -> io::Result<()> {
    let (major, minor) = (u64::from(major), u64::from(minor));
    let device = (major & 0xfff) << 8 | (major & !0xfff) << 32 | (minor & 0xff) | (minor & !0xff) << 12;
    done(unsafe { mknod(c_path(path)?.as_ptr(), kind | 0o600, device) })
}

/// Major and minor number.
pub fn device_of(found: &Metadata) -> (u32, u32) {
    let device = found.rdev();
    let major = (device >> 8 & 0xfff) | (device >> 32 & !0xfff);
    ((major as u32), ((device & 0xff) | (device >> 12 & !0xff)) as u32)
}

/// Whether a layer has a say in it: others steer overlayfs and the rest of the system.
pub fn is_of_layers(attribute: &[u8]) -> bool {
    attribute.starts_with(b"user.") || attribute == b"security.capability"
}

pub fn set_attribute(path: &Path, name: &[u8], value: &[u8]) -> io::Result<()> {
    let (path, name) = (c_path(path)?, c_text(name)?);
    done(unsafe { lsetxattr(path.as_ptr(), name.as_ptr(), value.as_ptr() as *const c_void, value.len(), 0) })
}

/// Those that layers carry; where there are none to be had, none.
pub fn attributes_of(path: &Path) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let path = c_path(path)?;
    let mut list = vec![0u8; LONGEST_VALUE];
    let size = unsafe { llistxattr(path.as_ptr(), list.as_mut_ptr() as *mut c_char, list.len()) };
    list.truncate(size.max(0) as usize);
    let mut found = Vec::new();
    for name in list.split(|&byte| byte == 0).filter(|name| is_of_layers(name)) {
        let mut value = vec![0u8; LONGEST_VALUE];
        let of = c_text(name)?;
        let size = unsafe { lgetxattr(path.as_ptr(), of.as_ptr(), value.as_mut_ptr() as *mut c_void, value.len()) };
        if size >= 0 {
            value.truncate(size as usize);
            found.push((name.to_vec(), value));
        }
    }
    Ok(found)
}
