//! A snapshotter that stacks directories with overlayfs: <root>/snapshots/<id>/{fs,work}, and what is
//! known of each in <root>/records/<id>, a message Info.
use crate::berth::{Code, Status};
use crate::disk;
use crate::filter::Filters;
use crate::info::{Info, Kind};
use crate::records::{check_label_mask, check_labels, update_labels, Labels, Time};
use crate::tree;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

/// As many as overlayfs stacks.
const MOST_LAYERS: usize = 500;

pub struct Mount {
    pub kind: &'static str,
    pub source: String,
    pub options: Vec<String>,
}

struct Snapshot {
    id: u64,
    info: Info,
}

#[derive(Default)]
struct State {
    by_name: BTreeMap<String, Snapshot>,
    last_id: u64,
}

/// Any thread; one at a time works, a commit's flush included: simple first.
pub struct Snapshots {
    root: PathBuf,
    state: Mutex<State>, // and the disk
}

fn check_key(key: &str) -> Result<(), Status> {
    match key {
        "" => Err(Status::new(Code::InvalidArgument, "the key of a snapshot is empty")),
        _ => Ok(()),
    }
}

impl State {
    fn need(&self, key: &str) -> Result<&Snapshot, Status> {
        self.by_name
            .get(key)
            .ok_or_else(|| Status::new(Code::NotFound, format!("snapshot {}: not found", key)))
    }

    fn must_be_free(&self, key: &str) -> Result<(), Status> {
        match self.by_name.contains_key(key) {
            true => Err(Status::new(Code::AlreadyExists, format!("snapshot {}: already exists", key))),
            false => Ok(()),
        }
    }

    fn insert(&mut self, snapshot: Snapshot) {
        self.by_name.insert(snapshot.info.name.clone(), snapshot);
    }
}

impl Snapshots {
    /// Finds what an earlier life left.
    pub fn open(root: &Path) -> Result<Snapshots, Status> {
        for name in ["snapshots", "records"] {
            disk::make_directory(&root.join(name), 0o700)?;
        }
        let mut state = State::default();
        for name in disk::names_in(&root.join("records"))? {
            let id: u64 = match name.parse() {
                Ok(id) => id,
                Err(_) => continue, // half-written, of before a crash
            };
            let path = root.join("records").join(&name);
            let bytes = fs::read(&path).map_err(|error| disk::failed(&path, &error))?;
            let info = Info::decode(&bytes).map_err(|_| {
                Status::new(Code::DataLoss, format!("{} is no record of a snapshot", path.display()))
            })?;
            state.last_id = state.last_id.max(id);
            state.insert(Snapshot { id, info });
        }
        let snapshots = Snapshots { root: root.to_path_buf(), state: Mutex::new(state) };
        snapshots.remove_strays()?;
        Ok(snapshots)
    }

    /// Trees without a record: of what was removed, or never recorded.
    fn remove_strays(&self) -> Result<(), Status> {
        let state = self.lock();
        for name in disk::names_in(&self.root.join("snapshots"))? {
            if !state.by_name.values().any(|one| one.id.to_string() == name) {
                let _ = tree::remove(&self.root.join("snapshots").join(name));
            }
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // One that panicked has not changed it halfway: the disk goes first.
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn tree(&self, id: u64) -> PathBuf {
        self.root.join("snapshots").join(id.to_string())
    }

    fn record(&self, id: u64) -> PathBuf {
        self.root.join("records").join(id.to_string())
    }

    fn make_tree(&self, id: u64, parent: Option<&Snapshot>) -> Result<(), Status> {
        let tree = self.tree(id);
        disk::make_directory(&tree, 0o700)?;
        disk::make_directory(&tree.join("work"), 0o711)?;
        disk::make_directory(&tree.join("fs"), 0o755)?;
        match parent {
            // The upper directory is the root of what is mounted and hides the parent's.
            Some(parent) => disk::look_like(&tree.join("fs"), &self.tree(parent.id).join("fs")),
            None => Ok(()),
        }
    }

    fn mounts_of(&self, state: &State, id: u64, info: &Info) -> Result<Mount, Status> {
        let show = |path: PathBuf| path.display().to_string();
        let writable = info.kind == Kind::Active;
        let mut layers = Vec::new();
        let mut below = info.parent.as_str();
        while !below.is_empty() {
            let layer = state.need(below)?;
            layers.push(show(self.tree(layer.id).join("fs")));
            below = &layer.info.parent;
        }
        if layers.len() > MOST_LAYERS {
            return Err(Status::new(
                Code::ResourceExhausted,
                format!("mounts of snapshot {}: it has more than {} layers", info.name, MOST_LAYERS),
            ));
        }
        // overlayfs wants a lower layer, and for reading one layer there is nothing to stack.
        if layers.is_empty() || (!writable && layers.len() == 1) {
            let source = layers.pop().unwrap_or_else(|| show(self.tree(id).join("fs")));
            let mode = if writable { "rw" } else { "ro" };
            return Ok(Mount { kind: "bind", source, options: vec![mode.into(), "rbind".into()] });
        }
        let mut options = Vec::new();
        if writable {
            options.push(format!("workdir={}", show(self.tree(id).join("work"))));
            options.push(format!("upperdir={}", show(self.tree(id).join("fs"))));
        }
        options.push(format!("lowerdir={}", layers.join(":")));
        Ok(Mount { kind: "overlay", source: "overlay".into(), options })
    }

    /// A new snapshot, active or a view, on top of a committed one; no parent is "".
    pub fn make(&self, kind: Kind, key: &str, parent: &str, labels: Labels) -> Result<Mount, Status> {
        check_key(key)?;
        check_labels(&labels)?;
        let mut state = self.lock();
        state.must_be_free(key)?;
        let below = if parent.is_empty() { None } else { Some(state.need(parent)?) };
        if below.map_or(false, |below| below.info.kind != Kind::Committed) {
            return Err(Status::new(Code::InvalidArgument, format!("parent {} is not committed", parent)));
        }
        let now = Time::now();
        let info = Info { name: key.into(), parent: parent.into(), kind, created: now, updated: now, labels };
        let id = state.last_id + 1;
        let made = self
            .make_tree(id, below)
            .and_then(|()| self.mounts_of(&state, id, &info))
            .and_then(|mount| disk::write_durably(&self.record(id), &info.encode()).map(|()| mount));
        state.last_id = id;
        match made {
            Ok(_) => state.insert(Snapshot { id, info }),
            Err(_) => drop(tree::remove(&self.tree(id))),
        }
        made
    }

    pub fn mounts(&self, key: &str) -> Result<Mount, Status> {
        let state = self.lock();
        let one = state.need(key)?;
        if one.info.kind == Kind::Committed {
            let why = format!("mounts of snapshot {}: it is committed: view it", key);
            return Err(Status::new(Code::FailedPrecondition, why));
        }
        self.mounts_of(&state, one.id, &one.info)
    }

    /// An active snapshot becomes a layer, durable when this is done.
    pub fn commit(&self, name: &str, key: &str, labels: Labels) -> Result<(), Status> {
        check_key(name)?;
        check_labels(&labels)?;
        let mut state = self.lock();
        let one = state.need(key)?;
        if one.info.kind != Kind::Active {
            return Err(Status::new(Code::FailedPrecondition, format!("commit {}: it is not active", key)));
        }
        state.must_be_free(name)?;
        let (id, now) = (one.id, Time::now());
        let parent = one.info.parent.clone();
        disk::sync_file_system(&self.tree(id))?;
        let info = Info { name: name.into(), parent, kind: Kind::Committed, created: now, updated: now, labels };
        disk::write_durably(&self.record(id), &info.encode())?;
        state.by_name.remove(key);
        state.insert(Snapshot { id, info });
        Ok(())
    }

    pub fn remove(&self, key: &str) -> Result<(), Status> {
        let mut state = self.lock();
        let id = state.need(key)?.id;
        if let Some(child) = state.by_name.values().find(|other| other.info.parent == key) {
            let why = format!("remove snapshot {}: {} is on top of it", key, child.info.name);
            return Err(Status::new(Code::FailedPrecondition, why));
        }
        // The record first: a tree without one is removed at the next start, a record without its tree
        // is damage.
        let record = self.record(id);
        fs::remove_file(&record).map_err(|error| disk::failed(&record, &error))?;
        disk::sync_directory(&self.root.join("records"))?;
        state.by_name.remove(key);
        let _ = tree::remove(&self.tree(id));
        Ok(())
    }

    pub fn stat(&self, key: &str) -> Result<Info, Status> {
        Ok(self.lock().need(key)?.info.clone())
    }

    /// Labels by a field mask: "labels", "labels.KEY", or none for all of them.
    pub fn update(&self, key: &str, wanted: Labels, mask: &[String]) -> Result<Info, Status> {
        check_labels(&wanted)?;
        check_label_mask(key, mask)?;
        let mut state = self.lock();
        let one = state.need(key)?;
        let id = one.id;
        let mut info = one.info.clone();
        update_labels(&mut info.labels, wanted, mask);
        info.updated = Time::now();
        disk::write_durably(&self.record(id), &info.encode())?;
        state.insert(Snapshot { id, info: info.clone() });
        Ok(info)
    }

    pub fn list(&self, filters: &Filters) -> Vec<Info> {
        let state = self.lock();
        let all = state.by_name.values().map(|one| &one.info);
        all.filter(|info| filters.matches(|name, rest| info.field(name, rest))).cloned().collect()
    }

    /// Bytes and files of a snapshot's own layer.
    pub fn usage(&self, key: &str) -> Result<(u64, u64), Status> {
        let id = self.lock().need(key)?.id;
        tree::measure(&self.tree(id).join("fs"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Scratch(PathBuf);
    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_life_of_snapshots_and_a_restart() {
        let scratch = Scratch(std::env::temp_dir().join(format!("@ident@-{}", std::process::id())));
        fs::create_dir(&scratch.0).unwrap();
        let snapshots = Snapshots::open(&scratch.0).unwrap();
        assert_eq!(snapshots.make(Kind::Active, "work", "", Labels::new()).unwrap().kind, "bind");
        snapshots.commit("layer", "work", Labels::new()).unwrap();
        assert_eq!(snapshots.make(Kind::Active, "next", "layer", Labels::new()).unwrap().kind, "overlay");
        let again = snapshots.make(Kind::Active, "next", "layer", Labels::new());
        assert_eq!(again.err().unwrap().code, Code::AlreadyExists);

        let snapshots = Snapshots::open(&scratch.0).unwrap();
        assert_eq!(snapshots.stat("next").unwrap().parent, "layer");
        assert_eq!(snapshots.remove("layer").unwrap_err().code, Code::FailedPrecondition);
        snapshots.remove("next").unwrap();
        snapshots.remove("layer").unwrap();
        assert!(snapshots.list(&Filters::parse(&[]).unwrap()).is_empty());
    }
}
