//! Blobs in files: <root>/blobs/HEX the bytes, <root>/info/HEX what is known of them (a message Info), and
//! <root>/ingests/HEX-OF-REF/{data,status} what is on its way in.
use crate::berth::{Code, Status};
use crate::digest::{digest_of, hex_of, Sha256};
use crate::disk::{self, At};
use crate::info::{Info, Progress};
use crate::records::{check_label_mask, check_labels, update_labels, Labels, Time};
use crate::tree;
use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

const STEP: usize = 1 << 16;

/// Any thread.
pub struct Store {
    root: PathBuf,
    written: Mutex<HashSet<String>>, // refs that have a writer; guards info files and what becomes of blobs, too
}

fn absent(digest: &str) -> Status {
    Status::new(Code::NotFound, format!("content {}: not found", digest))
}

fn no_ingest(name: &str) -> Status {
    Status::new(Code::NotFound, format!("ingest {}: not found", name))
}

fn failed_precondition(text: String) -> Status {
    Status::new(Code::FailedPrecondition, text)
}

/// None where there is none, or half of one.
fn read_progress(folder: &Path) -> Option<Progress> {
    let mut progress = Progress::decode(&fs::read(folder.join("status")).ok()?).ok()?;
    let data = fs::metadata(folder.join("data")).ok()?;
    progress.offset = data.len();
    progress.updated = progress.updated.max(data.modified().ok()?.into());
    Some(progress)
}

impl Store {
    /// Finds what an earlier life left.
    pub fn open(root: &Path) -> Result<Store, Status> {
        for name in ["blobs", "info", "ingests"] {
            disk::make_directory(&root.join(name), 0o700)?;
        }
        // Ingests of before a crash that nobody can name any more.
        for name in disk::names_in(&root.join("ingests"))? {
            let folder = root.join("ingests").join(name);
            if read_progress(&folder).is_none() {
                let _ = tree::remove(&folder);
            }
        }
        Ok(Store { root: root.to_path_buf(), written: Mutex::new(HashSet::new()) })
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<String>> {
        // One that panicked has not changed it halfway: the disk goes first.
        self.written.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn blob(&self, digest: &str) -> Result<PathBuf, Status> {
        Ok(self.root.join("blobs").join(hex_of(digest)?))
    }

    fn record(&self, digest: &str) -> Result<PathBuf, Status> {
        Ok(self.root.join("info").join(hex_of(digest)?))
    }

    /// Any ref is a safe and short name this way.
    fn ingest(&self, name: &str) -> PathBuf {
        self.root.join("ingests").join(&digest_of(name.as_bytes())["sha256:".len()..])
    }

    pub fn info(&self, digest: &str) -> Result<Info, Status> {
        let blob = fs::metadata(self.blob(digest)?).map_err(|_| absent(digest))?;
        let path = self.record(digest)?;
        let bytes = fs::read(&path).at(&path)?;
        let damaged = |_| Status::new(Code::DataLoss, format!("{} is no record of content", path.display()));
        Ok(Info { size: blob.len(), ..Info::decode(&bytes).map_err(damaged)? })
    }

    /// Labels by a field mask: "labels", "labels.KEY", or none for all of them.
    pub fn update(&self, digest: &str, wanted: Labels, mask: &[String]) -> Result<Info, Status> {
        hex_of(digest)?;
        check_label_mask(digest, mask)?;
        check_labels(&wanted)?;
        let _lock = self.lock();
        let mut info = self.info(digest)?;
        update_labels(&mut info.labels, wanted, mask);
        info.updated = Time::now();
        disk::write_durably(&self.record(digest)?, &info.encode())?;
        Ok(info)
    }

    pub fn open_blob(&self, digest: &str) -> Result<File, Status> {
        let path = self.blob(digest)?;
        match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(absent(digest)),
            opened => opened.at(&path),
        }
    }

    pub fn remove(&self, digest: &str) -> Result<(), Status> {
        let path = self.blob(digest)?;
        let _lock = self.lock();
        match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(absent(digest)),
            removed => removed.at(&path)?,
        }
        let _ = fs::remove_file(self.record(digest)?); // what is left of it says nothing without its blob
        Ok(())
    }

    pub fn blobs(&self) -> Result<Vec<Info>, Status> {
        let names = disk::names_in(&self.root.join("blobs"))?;
        Ok(names.iter().filter_map(|name| self.info(&format!("sha256:{}", name)).ok()).collect())
    }

    pub fn progress(&self, name: &str) -> Result<Progress, Status> {
        read_progress(&self.ingest(name)).ok_or_else(|| no_ingest(name))
    }

    pub fn ingests(&self) -> Result<Vec<Progress>, Status> {
        let folder = self.root.join("ingests");
        Ok(disk::names_in(&folder)?.iter().filter_map(|name| read_progress(&folder.join(name))).collect())
    }

    pub fn abort(&self, name: &str) -> Result<(), Status> {
        match self.ingest(name) {
            folder if folder.exists() => tree::remove(&folder),
            _ => Err(no_ingest(name)),
        }
    }

    /// The one writer of a ref, with what an earlier one left: UNAVAILABLE while there is another.
    pub fn begin(&self, name: &str, total: u64) -> Result<Ingest<'_>, Status> {
        if !self.lock().insert(name.to_string()) {
            let why = format!("ref {} is locked by another writer: unavailable", name);
            return Err(Status::new(Code::Unavailable, why));
        }
        let held = Held { store: self, name: name.to_string() }; // lets go of it, whatever comes
        let folder = self.ingest(name);
        let progress = match read_progress(&folder) {
            Some(progress) => progress,
            None => {
                let now = Time::now();
                let progress = Progress { started: now, updated: now, name: name.into(), offset: 0, total };
                disk::make_directory(&folder, 0o700)?;
                disk::write_durably(&folder.join("status"), &progress.encode())?;
                progress
            }
        };
        let path = folder.join("data");
        let data = OpenOptions::new().read(true).write(true).create(true).mode(0o600).open(&path).at(&path)?;
        let mut ingest = Ingest { held: Some(held), store: self, folder, data, sum: Sha256::new(), progress };
        ingest.hash()?;
        Ok(ingest)
    }
}

/// The right to write a ref.
struct Held<'a> {
    store: &'a Store,
    name: String,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.store.lock().remove(&self.name);
    }
}

/// What one writer does. What was written stays for the next one, unless it is committed.
pub struct Ingest<'a> {
    held: Option<Held<'a>>,
    store: &'a Store,
    folder: PathBuf,
    data: File,
    sum: Sha256,
    pub progress: Progress,
}

impl Ingest<'_> {
    pub fn digest(&self) -> String {
        self.sum.digest()
    }

    /// What is there is hashed again: it may have changed meanwhile.
    fn hash(&mut self) -> Result<(), Status> {
        let mut buffer = vec![0; STEP];
        self.progress.offset = 0;
        loop {
            match self.data.read_at(&mut buffer, self.progress.offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => match read.at(&self.folder)? {
                    0 => return Ok(()),
                    size => {
                        self.sum.add(&buffer[..size]);
                        self.progress.offset += size as u64;
                    }
                },
            }
        }
    }

    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Status> {
        if let Err(error) = self.data.write_all_at(bytes, self.progress.offset) {
            let _ = self.data.set_len(self.progress.offset); // nothing of a piece that did not fit stays
            return Err(error).at(&self.folder);
        }
        self.sum.add(bytes);
        self.progress.offset += bytes.len() as u64;
        self.progress.updated = Time::now();
        Ok(())
    }

    pub fn truncate(&mut self) -> Result<(), Status> {
        self.data.set_len(0).at(&self.folder)?;
        self.sum = Sha256::new();
        self.progress.offset = 0;
        Ok(())
    }

    /// Durable when OK. FAILED_PRECONDITION: other bytes are expected ("" and 0 expect nothing), and what is
    /// there stays. ALREADY_EXISTS: the ingest goes.
    pub fn commit(&mut self, total: u64, expected: &str, labels: Labels) -> Result<(), Status> {
        let (digest, size) = (self.digest(), self.progress.offset);
        let what = format!("commit ingest {}: ", self.progress.name);
        if total > 0 && total != size {
            return Err(failed_precondition(format!("{}it has {} bytes and not {}", what, size, total)));
        }
        if !expected.is_empty() && expected != digest {
            return Err(failed_precondition(format!("{}its digest is {} and not {}", what, digest, expected)));
        }
        check_labels(&labels)?;
        self.data.sync_all().at(&self.folder)?;
        let now = Time::now();
        let published = self.publish(&Info { digest, size, created: now, updated: now, labels });
        match &published {
            Err(status) if status.code != Code::AlreadyExists => {}
            _ => {
                let _ = tree::remove(&self.folder);
                self.held = None; // who hears of a commit may use the ref again
            }
        }
        published
    }

    fn publish(&self, info: &Info) -> Result<(), Status> {
        let _lock = self.store.lock();
        let blob = self.store.blob(&info.digest)?;
        if blob.exists() {
            let why = format!("content {}: already exists", info.digest);
            return Err(Status::new(Code::AlreadyExists, why));
        }
        // What is known of a blob is there before it is.
        disk::write_durably(&self.store.record(&info.digest)?, &info.encode())?;
        fs::rename(self.folder.join("data"), &blob).at(&blob)?;
        disk::sync_directory(&self.store.root.join("blobs"))
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
    fn a_blob_in_two_lives() {
        let scratch = Scratch(std::env::temp_dir().join(format!("@ident@-{}", std::process::id())));
        fs::create_dir(&scratch.0).unwrap();
        let digest = digest_of(b"hello world");
        let store = Store::open(&scratch.0).unwrap();
        let mut ingest = store.begin("ref", 0).unwrap();
        ingest.write(b"hello ").unwrap();
        assert_eq!(store.begin("ref", 0).err().unwrap().code, Code::Unavailable);
        drop(ingest);

        let store = Store::open(&scratch.0).unwrap();
        let mut ingest = store.begin("ref", 0).unwrap();
        assert_eq!(ingest.progress.offset, 6);
        ingest.write(b"world").unwrap();
        assert_eq!(ingest.commit(12, &digest, Labels::new()).unwrap_err().code, Code::FailedPrecondition);
        ingest.commit(11, &digest, Labels::new()).unwrap();
        assert_eq!(store.info(&digest).unwrap().size, 11);
        assert_eq!(store.progress("ref").unwrap_err().code, Code::NotFound);
        store.remove(&digest).unwrap();
        assert!(store.blobs().unwrap().is_empty());
    }
}
