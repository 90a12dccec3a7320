//! Layers and trees; all of it in the root of the calling thread (mounted.rs).
use crate::berth::{Code, Status};
use crate::system::{self, At};
use crate::tar::{Entry, Kind, Reader, Writer};
use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::fs::{self, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{symlink, DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";

fn wrong(path: &Path, why: impl std::fmt::Display) -> Status {
    Status::new(Code::InvalidArgument, format!("layer: {}: {}", path.display(), why))
}

fn is_real_directory(path: &Path) -> bool {
    fs::symlink_metadata(path).map_or(false, |found| found.is_dir())
}

/// "/a/b" of "./a/b/"; ".." does not climb out of a root.
fn in_root(name: &[u8]) -> PathBuf {
    let mut path = PathBuf::from("/");
    for component in Path::new(OsStr::from_bytes(name)).components() {
        match component {
            Component::Normal(part) => path.push(part),
            Component::ParentDir => drop(path.pop()),
            _ => {}
        }
    }
    path
}

/// With all that is below it, however deep: what std has for it opens a directory per level.
fn remove_directory(path: &Path) -> io::Result<()> {
    let mut left = vec![path.to_path_buf()];
    while let Some(directory) = left.last().cloned() {
        let mut below = Vec::new();
        for child in fs::read_dir(&directory)? {
            let child = child?.path();
            if is_real_directory(&child) {
                below.push(child);
            } else {
                fs::remove_file(child)?;
            }
        }
        if below.is_empty() {
            fs::remove_dir(&directory)?;
            left.pop();
        } else {
            left.append(&mut below); // and then it is the turn of this one again
        }
    }
    Ok(())
}

/// With all that is below it; what is absent is success.
fn remove(path: &Path) -> Result<(), Status> {
    let removed = if is_real_directory(path) { remove_directory(path) } else { fs::remove_file(path) };
    match removed {
        // 20: what would be above it is a file.
        Err(error) if error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(20) => Ok(()),
        removed => removed.at(path),
    }
}

// -- archives into trees -------------------------------------------------------------------------------

/// What an entry says of a directory; done last, since what comes into it changes its time.
struct Looks {
    mode: u32,
    seconds: i64,
    nanos: u32,
}

#[derive(Default)]
struct Unpacker {
    brought: BTreeMap<PathBuf, Option<Looks>>, // by this layer; looks of directories
}

/// Unpacks a tar archive: what it brings replaces what is there, ".wh.NAME" removes NAME, ".wh..wh..opq" all
/// that the lower layers have in its directory. INVALID_ARGUMENT for what is no sound archive.
pub fn unpack_here(archive: &[u8]) -> Result<(), Status> {
    let mut unpacker = Unpacker::default();
    let mut reader = Reader::new(archive);
    while let Some(entry) = reader.next()? {
        unpacker.take(&entry, &in_root(&entry.name))?;
    }
    for (path, looks) in &unpacker.brought {
        match looks {
            Some(looks) if is_real_directory(path) => {
                fs::set_permissions(path, fs::Permissions::from_mode(looks.mode)).at(path)?;
                system::set_time(path, looks.seconds, looks.nanos).at(path)?;
            }
            _ => {}
        }
    }
    Ok(())
}

impl Unpacker {
    fn take(&mut self, entry: &Entry, path: &Path) -> Result<(), Status> {
        let (parent, base) = match (path.parent(), path.file_name()) {
            (Some(parent), Some(base)) => (parent, base.as_bytes()),
            _ => return Ok(()), // the root is the snapshotter's
        };
        if base == OPAQUE {
            return self.clear(parent);
        }
        if let Some(gone) = base.strip_prefix(WHITEOUT) {
            if gone.is_empty() || gone == b"." || gone == b".." {
                return Err(wrong(path, "a whiteout names nothing"));
            }
            return remove(&parent.join(OsStr::from_bytes(gone)));
        }
        fs::DirBuilder::new().recursive(true).mode(0o755).create(parent).map_err(|error| wrong(path, error))?;
        // A directory stays with what is in it, everything else is replaced.
        if !(entry.kind == Kind::Directory && is_real_directory(path)) {
            if entry.kind == Kind::HardLink && in_root(&entry.link) == path {
                return Ok(());
            }
            remove(path)?;
            make(entry, path).map_err(|error| wrong(path, error))?;
        }
        let looks = Looks { mode: entry.mode, seconds: entry.seconds, nanos: entry.nanos };
        let directory = entry.kind == Kind::Directory;
        self.brought.insert(path.to_path_buf(), if directory { Some(looks) } else { None });
        if entry.kind != Kind::HardLink {
            adorn(entry, path).at(path)?;
        }
        Ok(())
    }

    /// Whether this layer brings the path, or something below it.
    fn brings(&self, path: &Path) -> bool {
        self.brought.range(path.to_path_buf()..).next().map_or(false, |(one, _)| one.starts_with(path))
    }

    /// Removes what lower layers have in a directory, and keeps what this one has brought.
    fn clear(&self, directory: &Path) -> Result<(), Status> {
        let mut directories = vec![directory.to_path_buf()];
        while let Some(directory) = directories.pop() {
            if !is_real_directory(&directory) {
                continue;
            }
            for child in fs::read_dir(&directory).at(&directory)? {
                let path = child.at(&directory)?.path();
                if self.brings(&path) {
                    directories.push(path);
                } else {
                    remove(&path)?;
                }
            }
        }
        Ok(())
    }
}

/// Of nothing that is there.
fn make(entry: &Entry, path: &Path) -> io::Result<()> {
    let node = |kind| system::make_node(path, kind, entry.device);
    match entry.kind {
        Kind::File => {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
            file.write_all(entry.content)
        }
        Kind::HardLink => fs::hard_link(in_root(&entry.link), path),
        Kind::Symlink => symlink(OsStr::from_bytes(&entry.link), path),
        Kind::Character => node(0o020000),
        Kind::Block => node(0o060000),
        Kind::Fifo => node(0o010000),
        Kind::Directory => fs::DirBuilder::new().mode(0o700).create(path),
    }
}

/// Owner before mode, which a change of owner takes bits from, and attributes after it for the same reason.
fn adorn(entry: &Entry, path: &Path) -> io::Result<()> {
    system::give_to(path, entry.user, entry.group)?;
    if entry.kind != Kind::Symlink {
        fs::set_permissions(path, fs::Permissions::from_mode(entry.mode))?;
    }
    for (name, value) in entry.attributes.iter().filter(|(name, _)| system::is_of_layers(name)) {
        match system::set_attribute(path, name, value) {
            Err(error) if error.raw_os_error() == Some(95) => {} // not on this file system
            set => set?,
        }
    }
    system::set_time(path, entry.seconds, entry.nanos)
}

// -- trees into archives -------------------------------------------------------------------------------

/// All that makes a file another one.
#[derive(PartialEq)]
pub struct Look {
    mode: u32,
    owner: (u32, u32),
    size: u64,
    time: (i64, i64),
    device: (u32, u32),
    link: PathBuf,
    attributes: Vec<(Vec<u8>, Vec<u8>)>,
}

/// By path without the first slash.
pub type Tree = BTreeMap<PathBuf, Look>;

impl Look {
    fn at(path: &Path, found: &Metadata) -> io::Result<Look> {
        let directory = found.is_dir();
        Ok(Look {
            mode: found.mode(),
            owner: (found.uid(), found.gid()),
            size: if directory { 0 } else { found.len() },
            time: if directory { (0, 0) } else { (found.mtime(), found.mtime_nsec()) },
            device: system::device_of(found),
            link: if found.is_symlink() { fs::read_link(path)? } else { PathBuf::new() },
            attributes: system::attributes_of(path)?,
        })
    }
}

/// Calls `visit` with all of this root: names, and what lies there.
fn walk(mut visit: impl FnMut(&Path, &Path, &Metadata) -> Result<(), Status>) -> Result<(), Status> {
    let mut paths = Vec::new();
    let mut directories = vec![PathBuf::from("/")];
    while let Some(directory) = directories.pop() {
        for child in fs::read_dir(&directory).at(&directory)? {
            let child = child.at(&directory)?;
            if child.file_type().at(&directory)?.is_dir() {
                directories.push(child.path());
            }
            paths.push(child.path());
        }
    }
    paths.sort();
    for path in paths {
        let found = fs::symlink_metadata(&path).at(&path)?;
        visit(path.strip_prefix("/").unwrap_or(&path), &path, &found)?;
    }
    Ok(())
}

pub fn look_at_tree() -> Result<Tree, Status> {
    let mut tree = Tree::new();
    walk(|name, path, found| {
        tree.insert(name.to_path_buf(), Look::at(path, found).at(path)?);
        Ok(())
    })?;
    Ok(tree)
}

fn kind_of(found: &Metadata) -> Option<Kind> {
    let kind = found.file_type();
    let kinds = [
        (kind.is_file(), Kind::File),
        (kind.is_dir(), Kind::Directory),
        (kind.is_symlink(), Kind::Symlink),
        (kind.is_char_device(), Kind::Character),
        (kind.is_block_device(), Kind::Block),
        (kind.is_fifo(), Kind::Fifo),
    ];
    kinds.iter().find(|(is, _)| *is).map(|&(_, kind)| kind)
}

fn bytes_of(path: &Path) -> Vec<u8> {
    path.as_os_str().as_bytes().to_vec()
}

/// What this root has other than `lower`, as a layer.
pub fn pack_changes(lower: &Tree) -> Result<Vec<u8>, Status> {
    let mut writer = Writer::default();
    let mut first_names = HashMap::new(); // of files that have several
    let mut upper = BTreeMap::new(); // whether it is a directory
    walk(|name, path, found| {
        upper.insert(name.to_path_buf(), found.is_dir());
        let look = Look::at(path, found).at(path)?;
        if lower.get(name) == Some(&look) {
            return Ok(());
        }
        let kind = match kind_of(found) {
            Some(kind) => kind,
            None => return Ok(()), // a socket: nobody listens to it in another tree
        };
        let mut entry = Entry {
            name: bytes_of(name),
            kind,
            link: bytes_of(&look.link),
            mode: found.mode() & 0o7777,
            user: found.uid(),
            group: found.gid(),
            seconds: found.mtime(),
            nanos: found.mtime_nsec() as u32,
            device: look.device,
            attributes: look.attributes,
            content: &[],
        };
        let mut content = Vec::new();
        if kind != Kind::Directory && found.nlink() > 1 {
            let first = first_names.entry(found.ino()).or_insert_with(|| entry.name.clone());
            if *first != entry.name {
                entry.kind = Kind::HardLink;
                entry.link = first.clone();
            }
        }
        if entry.kind == Kind::File {
            content = fs::read(path).at(path)?;
        }
        writer.add(&Entry { content: &content, ..entry });
        Ok(())
    })?;
    for name in lower.keys().filter(|name| !upper.contains_key(*name)) {
        // What is below something that goes, or is a file now, goes with it.
        let parent = name.parent().unwrap_or_else(|| Path::new(""));
        if parent.as_os_str().is_empty() || upper.get(parent) == Some(&true) {
            writer.add(&whiteout(name, parent));
        }
    }
    Ok(writer.finish())
}

fn whiteout(name: &Path, parent: &Path) -> Entry<'static> {
    let base = [WHITEOUT, name.file_name().unwrap_or_default().as_bytes()].concat();
    Entry {
        name: bytes_of(&parent.join(OsStr::from_bytes(&base))),
        kind: Kind::File,
        link: Vec::new(),
        mode: 0,
        user: 0,
        group: 0,
        seconds: 0,
        nanos: 0,
        device: (0, 0),
        attributes: Vec::new(),
        content: &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mounted::{in_root_of, Mount};

    struct Scratch(PathBuf);
    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    /// Nothing is done without root, who alone can mount. That it does all that a differ must is tested by
    /// the conformance kit.
    #[test]
    fn the_changes_of_a_tree_give_the_tree() {
        if fs::metadata("/proc/self").unwrap().uid() != 0 {
            return;
        }
        let scratch = Scratch(std::env::temp_dir().join(format!("@ident@-{}", std::process::id())));
        for name in ["lower", "upper", "copy"] {
            fs::create_dir_all(scratch.0.join(name)).unwrap();
        }
        let bound = |name: &str| {
            let source = scratch.0.join(name).display().to_string();
            [Mount { kind: "bind".into(), source, options: vec!["rbind".into()] }]
        };
        fs::write(scratch.0.join("lower/gone"), "1").unwrap();
        fs::write(scratch.0.join("copy/gone"), "1").unwrap();
        fs::write(scratch.0.join("upper/new"), "2").unwrap();
        let lower = in_root_of(&bound("lower"), &scratch.0, look_at_tree).unwrap();
        let layer = in_root_of(&bound("upper"), &scratch.0, || pack_changes(&lower)).unwrap();
        in_root_of(&bound("copy"), &scratch.0, || unpack_here(&layer)).unwrap();
        assert_eq!(fs::read(scratch.0.join("copy/new")).unwrap(), b"2");
        assert!(!scratch.0.join("copy/gone").exists());
    }

    #[test]
    fn names_stay_in_the_root() {
        for (name, path) in [("./a/b/", "/a/b"), ("../../a", "/a"), ("a/../../b", "/b"), ("/", "/"), ("", "/")] {
            assert_eq!(in_root(name.as_bytes()), Path::new(path), "{}", name);
        }
    }
}
