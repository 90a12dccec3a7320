//! Work in what mounts show, as in a root of its own.
use crate::berth::{Code, Status};
use crate::pb::{self, Field, Malformed, Value};
use crate::system::{self, At};
use std::fs;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::path::Path;

/// containerd.types.Mount
#[derive(Clone, Default)]
pub struct Mount {
    pub kind: String,
    pub source: String,
    pub options: Vec<String>,
}

impl Mount {
    pub fn decode(bytes: &[u8]) -> Result<Mount, Malformed> {
        let mut mount = Mount::default();
        for field in pb::fields(bytes) {
            if let Field { number, value: Value::Bytes(bytes) } = field? {
                let text = pb::text(bytes).ok_or(Malformed)?;
                match number {
                    1 => mount.kind = text,
                    2 => mount.source = text,
                    4 => mount.options.push(text),
                    _ => {} // where to is this plugin's own affair
                }
            }
        }
        Ok(mount)
    }

    fn mount(&self, target: &Path) -> Result<(), Status> {
        let mut flags = 0;
        let mut data = Vec::new();
        for option in &self.options {
            match option.as_str() {
                "ro" => flags |= system::RDONLY,
                "bind" => flags |= system::BIND,
                "rbind" => flags |= system::BIND | system::RECURSIVE,
                "rw" => {}
                other => data.push(other),
            }
        }
        let mounted = system::mount_at(target, &self.source, &self.kind, flags, &data.join(","));
        mounted.map_err(|error| system::failed(&format!("mount {} of type {}", self.source, self.kind), &error))
    }
}

fn enter(mounts: &[Mount], target: &Path) -> Result<(), Status> {
    system::leave_others().map_err(|error| system::failed("make a mount namespace", &error))?;
    mounts.iter().try_for_each(|mount| mount.mount(target))?;
    std::os::unix::fs::chroot(target).at(target)?;
    std::env::set_current_dir("/").at(target)
}

/// Mounts on a new directory in `folder` and runs `work` on a thread whose root directory that is: whatever
/// names and links a layer has, the kernel resolves them there and nowhere else. Mounts live in a namespace
/// of that thread and go with it, also when the daemon is killed. Without mounts the root is empty.
pub fn in_root_of<T: Send>(
    mounts: &[Mount],
    folder: &Path,
    work: impl FnOnce() -> Result<T, Status> + Send,
) -> Result<T, Status> {
    let target = system::make_temporary(folder).at(folder)?;
    let run = || {
        enter(mounts, &target)?;
        let outcome = work()?;
        let root = Path::new("/");
        system::sync_file_system(root).at(root)?;
        Ok(outcome)
    };
    let panicked = |_| Err(Status::new(Code::Internal, "a panic at work on a layer"));
    let outcome = std::thread::scope(|scope| {
        let caught = || catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(panicked);
        match std::thread::Builder::new().spawn_scoped(scope, caught) {
            Ok(thread) => thread.join().unwrap_or_else(panicked),
            Err(error) => Err(Status::new(Code::ResourceExhausted, format!("no thread for a layer: {}", error))),
        }
    });
    fs::remove_dir(&target).at(&target)?;
    outcome
}
