//! Trees, whatever somebody put into them: links, names, any depth. A container makes them deeper than a path may be,
//! than the stack of a handler has room for and than there are descriptors: a walk calls itself nowhere, has one
//! directory open, and names what is in it by that one.
#![allow(dead_code)] // not every plugin needs all of it
use crate::berth::Status;
use crate::disk::At;
use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::os::unix::io::AsRawFd;
use std::path::{Path, PathBuf};

/// An error ends the walk. The paths are for calls of the system, and for the time of the call.
trait Visitor {
    /// At anything, directories before what is inside.
    fn arrive(&mut self, path: &Path, found: &Metadata) -> io::Result<()>;
    /// A directory, after what is inside.
    fn leave(&mut self, _path: &Path) -> io::Result<()> {
        Ok(())
    }
}

/// A directory between the root of a walk and where it is.
struct Level {
    name: OsString,
    inside: Vec<OsString>, // still to visit
    found: Metadata,
}

fn replaced() -> io::Error {
    io::Error::new(io::ErrorKind::Other, "a directory was replaced or moved meanwhile")
}

fn same(one: &Metadata, other: &Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

fn path_of(directory: &File) -> PathBuf {
    Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string())
}

fn place(here: &Option<File>, name: &OsStr) -> PathBuf {
    match here {
        Some(directory) => path_of(directory).join(name),
        None => PathBuf::from(name), // the root of the walk
    }
}

/// What was swapped for a link in between leads nowhere: what is opened has to be what was found.
fn open(path: &Path, found: &Metadata) -> io::Result<File> {
    let directory = File::open(path)?;
    if same(&directory.metadata()?, found) { Ok(directory) } else { Err(replaced()) }
}

fn names_in(directory: &File) -> io::Result<Vec<OsString>> {
    fs::read_dir(path_of(directory))?.map(|entry| entry.map(|entry| entry.file_name())).collect()
}

/// A directory that is to be entered. None too for what was removed meanwhile.
fn visit(path: &Path, name: &OsStr, visitor: &mut dyn Visitor) -> io::Result<Option<(File, Level)>> {
    let found = fs::symlink_metadata(path)?;
    visitor.arrive(path, &found)?;
    if !found.is_dir() {
        return Ok(None);
    }
    let directory = open(path, &found)?;
    let inside = names_in(&directory)?;
    Ok(Some((directory, Level { name: name.to_owned(), inside, found })))
}

fn walk(root: &Path, visitor: &mut dyn Visitor) -> io::Result<()> {
    let mut levels: Vec<Level> = Vec::new();
    let mut here = None; // the directory of the last level
    let mut next = Some(root.as_os_str().to_owned());
    loop {
        if let Some(name) = next {
            match visit(&place(&here, &name), &name, visitor) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {} // removed meanwhile
                Err(error) => return Err(error),
                Ok(None) => {}
                Ok(Some((directory, level))) => {
                    here = Some(directory);
                    levels.push(level);
                }
            }
        } else if let Some(done) = levels.pop() {
            here = match levels.last() {
                Some(above) => Some(open(&place(&here, OsStr::new("..")), &above.found)?),
                None => None,
            };
            visitor.leave(&place(&here, &done.name))?;
        }
        next = match levels.last_mut() {
            Some(level) => level.inside.pop(),
            None => return Ok(()),
        };
    }
}

struct Remove;
impl Visitor for Remove {
    fn arrive(&mut self, path: &Path, found: &Metadata) -> io::Result<()> {
        if found.is_dir() { Ok(()) } else { fs::remove_file(path) }
    }
    fn leave(&mut self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }
}

#[derive(Default)]
struct Measure {
    seen: HashSet<u64>, // files with several names
    bytes: u64,
    inodes: u64,
}
impl Visitor for Measure {
    fn arrive(&mut self, _path: &Path, found: &Metadata) -> io::Result<()> {
        if found.is_dir() || found.nlink() < 2 || self.seen.insert(found.ino()) {
            self.bytes += found.blocks() * 512;
            self.inodes += 1;
        }
        Ok(())
    }
}

/// With all that is below it, never through a symbolic link; what is absent is success.
pub fn remove(path: &Path) -> Result<(), Status> {
    walk(path, &mut Remove).at(path)
}

/// Bytes on disk and files of a directory and all below it; names of one file count once.
pub fn measure(path: &Path) -> Result<(u64, u64), Status> {
    let mut measure = Measure::default();
    walk(path, &mut measure).at(path)?;
    Ok((measure.bytes, measure.inodes))
}
