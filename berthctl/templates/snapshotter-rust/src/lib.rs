//! containerd.services.snapshots.v1.Snapshots: messages in, messages out. The boundary to the daemon is
//! in berth.rs, the snapshotter in snapshots.rs.

mod berth;
mod disk;
mod filter;
mod info;
mod pb;
mod records;
mod snapshots;
mod tree;

use berth::{Call, Code, Host, Status};
use filter::Filters;
use info::{Info, Kind};
use pb::{Field, Malformed, Value};
use records::Labels;
use snapshots::{Mount, Snapshots};
use std::path::Path;

pub struct @Class@ {
    snapshots: Snapshots,
}

/// What the requests have between them. All but Commit, Update and List begin with the same fields.
#[derive(Default)]
struct Request {
    key: String,
    parent: String,
    labels: Labels,
}

fn text(bytes: &[u8]) -> Result<String, Malformed> {
    pb::text(bytes).ok_or(Malformed)
}

impl Request {
    fn parse(bytes: &[u8]) -> Result<Request, Malformed> {
        let mut request = Request::default();
        for field in pb::fields(bytes) {
            match field? {
                Field { number: 2, value: Value::Bytes(bytes) } => request.key = text(bytes)?,
                Field { number: 3, value: Value::Bytes(bytes) } => request.parent = text(bytes)?,
                Field { number: 4, value: Value::Bytes(bytes) } => {
                    records::take_label(&mut request.labels, bytes)?
                }
                _ => {} // the snapshotter's name, and what newer clients send
            }
        }
        Ok(request)
    }
}

/// PrepareSnapshotResponse, ViewSnapshotResponse and MountsResponse.
fn with_mount(mount: Mount) -> Vec<u8> {
    let mut bytes = pb::put_text(1, mount.kind);
    pb::add_text(&mut bytes, 2, &mount.source);
    for option in &mount.options {
        pb::add_text(&mut bytes, 4, option);
    }
    let mut response = Vec::new();
    pb::put_bytes(&mut response, 1, &bytes);
    response
}

/// StatSnapshotResponse and UpdateSnapshotResponse.
fn with_info(info: &Info) -> Vec<u8> {
    let mut response = Vec::new();
    pb::put_bytes(&mut response, 1, &info.encode());
    response
}

impl @Class@ {
    fn update(&self, bytes: &[u8]) -> Result<Result<Info, Status>, Malformed> {
        let mut info = None;
        let mut mask = Vec::new();
        for field in pb::fields(bytes) {
            match field? {
                Field { number: 2, value: Value::Bytes(bytes) } => info = Some(Info::decode(bytes)?),
                Field { number: 3, value: Value::Bytes(bytes) } => mask = pb::texts(bytes, 1)?,
                _ => {}
            }
        }
        Ok(match info {
            Some(info) => self.snapshots.update(&info.name, info.labels, &mask),
            None => Err(Status::new(Code::InvalidArgument, "update: the request names no snapshot")),
        })
    }

    fn list(&self, filters: &[String], call: &Call) -> Result<(), Status> {
        const BATCH: usize = 100;
        for batch in self.snapshots.list(&Filters::parse(filters)?).chunks(BATCH) {
            call.send(&batch.iter().flat_map(with_info).collect::<Vec<u8>>())?;
        }
        Ok(())
    }
}

impl berth::Plugin for @Class@ {
    const TYPE: &'static str = "io.containerd.snapshotter.v1";
    const ID: &'static str = "@name@";
    const SERVICE: &'static str = "containerd.services.snapshots.v1.Snapshots";
    const METHODS: &'static [berth::Method] = &[
        berth::method("Prepare"),
        berth::method("View"),
        berth::method("Mounts"),
        berth::method("Commit"),
        berth::method("Remove"),
        berth::method("Stat"),
        berth::method("Update"),
        berth::server_stream("List"),
        berth::method("Usage"),
        berth::method("Cleanup"),
    ];
    const DESCRIPTORS: &'static [u8] = &[]; // the daemon knows the service

    /// Runs once, before any call. What it returns as an error is what the administrator reads.
    fn create(host: &Host) -> Result<Self, Status> {
        let configured = host.config("root_path");
        let root = if configured.is_empty() { host.property("root") } else { configured };
        Ok(@Class@ { snapshots: Snapshots::open(Path::new(&root))? })
    }

    /// Any thread, several at once. What panics is answered as INTERNAL.
    fn call(&self, method: u32, call: &Call) -> Result<Vec<u8>, Status> {
        let malformed = |Malformed| Status::new(Code::InvalidArgument, "the request is not well-formed");
        let bytes = call.request();
        if method == 6 {
            return self.update(bytes).map_err(malformed)?.map(|info| with_info(&info));
        }
        if method == 7 {
            self.list(&pb::texts(bytes, 2).map_err(malformed)?, call)?;
            return Ok(Vec::new());
        }
        let request = Request::parse(bytes).map_err(malformed)?;
        match method {
            0 => self.snapshots.make(Kind::Active, &request.key, &request.parent, request.labels).map(with_mount),
            1 => self.snapshots.make(Kind::View, &request.key, &request.parent, request.labels).map(with_mount),
            2 => self.snapshots.mounts(&request.key).map(with_mount),
            // Here field 2 is the name, and field 3 the key.
            3 => self.snapshots.commit(&request.key, &request.parent, request.labels).map(|()| Vec::new()),
            4 => self.snapshots.remove(&request.key).map(|()| Vec::new()),
            5 => self.snapshots.stat(&request.key).map(|info| with_info(&info)),
            8 => {
                let (size, inodes) = self.snapshots.usage(&request.key)?;
                let mut response = Vec::new();
                pb::add_number(&mut response, 1, size);
                pb::add_number(&mut response, 2, inodes);
                Ok(response)
            }
            _ => Ok(Vec::new()), // Cleanup: trees go when their snapshots do
        }
    }
}

berth::export!(@Class@);
