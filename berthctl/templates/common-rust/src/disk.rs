//! Files that are there, whole, after a crash.
#![allow(dead_code)] // not every plugin needs all of it
use crate::berth::{Code, Status};
use std::ffi::{c_char, c_int, CString};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::os::unix::io::AsRawFd;
use std::path::Path;

extern "C" {
    fn syncfs(fd: c_int) -> c_int;
    #[link_name = "lchown"]
    fn c_lchown(path: *const c_char, user: u32, group: u32) -> c_int;
}

/// What the system says, with the code that fits.
pub fn failed(what: &Path, error: &io::Error) -> Status {
    let code = match error.raw_os_error() {
        Some(2) => Code::NotFound,
        Some(1) | Some(13) => Code::PermissionDenied,
        Some(12) | Some(23) | Some(24) | Some(28) | Some(122) => Code::ResourceExhausted,
        _ => Code::Internal,
    };
    Status::new(code, format!("{}: {}", what.display(), error))
}

/// For errors that name the path.
pub trait At<T> {
    fn at(self, path: &Path) -> Result<T, Status>;
}
impl<T> At<T> for io::Result<T> {
    fn at(self, path: &Path) -> Result<T, Status> {
        self.map_err(|error| failed(path, &error))
    }
}

/// Replaces a file as a whole and durably: readers see the old or the new bytes, also after a crash.
pub fn write_durably(path: &Path, bytes: &[u8]) -> Result<(), Status> {
    let new = path.with_extension("new");
    let written = File::create(&new).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written.at(&new)?;
    fs::rename(&new, path).at(path)?;
    sync_directory(path.parent().unwrap_or(path))
}

/// Makes what happened to the names in a directory durable.
pub fn sync_directory(path: &Path) -> Result<(), Status> {
    File::open(path).and_then(|file| file.sync_all()).at(path)
}

/// All of the file system that a directory is on.
pub fn sync_file_system(path: &Path) -> Result<(), Status> {
    let file = File::open(path).at(path)?;
    match unsafe { syncfs(file.as_raw_fd()) } {
        0 => Ok(()),
        _ => Err(failed(path, &io::Error::last_os_error())),
    }
}

/// A directory with this mode, whatever the umask; one that is there is success.
pub fn make_directory(path: &Path, mode: u32) -> Result<(), Status> {
    match fs::DirBuilder::new().mode(mode).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        made => made.at(path)?,
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).at(path)
}

/// Gives `path` owner and mode of `model`.
pub fn look_like(path: &Path, model: &Path) -> Result<(), Status> {
    let found = fs::symlink_metadata(model).at(model)?;
    let text = CString::new(path.as_os_str().as_bytes())
        .map_err(|_| Status::new(Code::InvalidArgument, "a path with NUL"))?;
    if unsafe { c_lchown(text.as_ptr(), found.uid(), found.gid()) } != 0 {
        return Err(failed(path, &io::Error::last_os_error()));
    }
    fs::set_permissions(path, fs::Permissions::from_mode(found.mode() & 0o7777)).at(path)
}

pub fn names_in(path: &Path) -> Result<Vec<String>, Status> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path).at(path)? {
        names.push(entry.at(path)?.file_name().to_string_lossy().into_owned());
    }
    Ok(names)
}
