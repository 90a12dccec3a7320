//! containerd.services.content.v1.Content: messages in, messages out. The boundary to the daemon is in
//! berth.rs, the store in store.rs.

mod berth;
mod digest;
mod disk;
mod filter;
mod info;
mod pb;
mod records;
mod store;
mod tree;

use berth::{Call, Code, Host, Status};
use filter::Filters;
use info::{Info, Progress};
use pb::{Field, Malformed, Value};
use records::Labels;
use std::os::unix::fs::FileExt;
use std::path::Path;

const CHUNK: u64 = 1 << 20;

pub struct @Class@ {
    store: store::Store,
}

impl From<Malformed> for Status {
    fn from(_: Malformed) -> Status {
        Status::new(Code::InvalidArgument, "the request is not well-formed")
    }
}

/// The text of the requests that have one and little else: a digest, or a ref.
fn first_text(bytes: &[u8]) -> Result<String, Malformed> {
    Ok(pb::texts(bytes, 1)?.pop().unwrap_or_default())
}

/// InfoResponse, UpdateResponse and StatusResponse; and one more of a list.
fn with(message: &[u8]) -> Vec<u8> {
    let mut response = Vec::new();
    pb::put_bytes(&mut response, 1, message);
    response
}

#[derive(Default)]
struct WriteRequest<'a> {
    action: u64,
    name: String,
    total: i64,
    expected: String,
    offset: i64,
    data: &'a [u8],
    labels: Labels,
}

const STAT: u64 = 0;
const COMMIT: u64 = 2;

impl<'a> WriteRequest<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut request = WriteRequest::default();
        for field in pb::fields(bytes) {
            match field? {
                Field { number: 1, value: Value::Number(action) } => request.action = action,
                Field { number: 2, value: Value::Bytes(bytes) } => {
                    request.name = pb::text(bytes).ok_or(Malformed)?
                }
                Field { number: 3, value: Value::Number(total) } => request.total = total as i64,
                Field { number: 4, value: Value::Bytes(bytes) } => {
                    request.expected = pb::text(bytes).ok_or(Malformed)?
                }
                Field { number: 5, value: Value::Number(offset) } => request.offset = offset as i64,
                Field { number: 6, value: Value::Bytes(data) } => request.data = data,
                Field { number: 7, value: Value::Bytes(bytes) } => records::take_label(&mut request.labels, bytes)?,
                _ => {} // of a newer client
            }
        }
        Ok(request)
    }
}

/// WriteContentResponse
fn written(action: u64, total: u64, digest: &str, progress: &Progress) -> Vec<u8> {
    let mut out = Vec::new();
    pb::add_number(&mut out, 1, action);
    pb::put_bytes(&mut out, 2, &progress.started.encode());
    pb::put_bytes(&mut out, 3, &progress.updated.encode());
    pb::add_number(&mut out, 4, progress.offset);
    pb::add_number(&mut out, 5, total);
    pb::add_text(&mut out, 6, digest);
    out
}

/// A call of Write. What is expected may be told with any message; the last one counts.
#[derive(Default)]
struct Writing<'a> {
    ingest: Option<store::Ingest<'a>>,
    total: u64,
    expected: String,
}

impl @Class@ {
    fn update(&self, bytes: &[u8]) -> Result<Info, Status> {
        let mut wanted = Info::default();
        let mut mask = Vec::new();
        for field in pb::fields(bytes) {
            match field? {
                Field { number: 1, value: Value::Bytes(bytes) } => wanted = Info::decode(bytes)?,
                Field { number: 2, value: Value::Bytes(bytes) } => mask = pb::texts(bytes, 1)?,
                _ => {}
            }
        }
        self.store.update(&wanted.digest, wanted.labels, &mask)
    }

    fn list(&self, filters: &[String], call: &Call) -> Result<(), Status> {
        const BATCH: usize = 100;
        let filters = Filters::parse(filters)?;
        let mut found = self.store.blobs()?;
        found.retain(|info| filters.matches(|name, rest| info.field(name, rest)));
        for batch in found.chunks(BATCH) {
            call.send(&batch.iter().flat_map(|info| with(&info.encode())).collect::<Vec<u8>>())?;
        }
        Ok(())
    }

    fn list_statuses(&self, filters: &[String]) -> Result<Vec<u8>, Status> {
        let filters = Filters::parse(filters)?;
        let mut found = self.store.ingests()?;
        found.retain(|progress| filters.matches(|name, _| progress.field(name)));
        Ok(found.iter().flat_map(|progress| with(&progress.encode())).collect())
    }

    fn read(&self, bytes: &[u8], call: &Call) -> Result<(), Status> {
        let (mut digest, mut offset, mut size) = (String::new(), 0, 0);
        for field in pb::fields(bytes) {
            match field? {
                Field { number: 1, value: Value::Bytes(bytes) } => digest = pb::text(bytes).ok_or(Malformed)?,
                Field { number: 2, value: Value::Number(value) } => offset = value as i64,
                Field { number: 3, value: Value::Number(value) } => size = value as i64,
                _ => {}
            }
        }
        let broken = |error: &dyn std::fmt::Display| {
            Status::new(Code::DataLoss, format!("read content {}: {}", digest, error))
        };
        let blob = self.store.open_blob(&digest)?;
        let all = blob.metadata().map_err(|error| broken(&error))?.len();
        let mut offset = offset.max(0) as u64;
        if offset > all {
            let why = format!("read content {} at offset {}: it has {} bytes", digest, offset, all);
            return Err(Status::new(Code::OutOfRange, why));
        }
        let end = if size <= 0 { all } else { all.min(offset.saturating_add(size as u64)) };
        while offset < end {
            let mut data = vec![0; CHUNK.min(end - offset) as usize];
            blob.read_exact_at(&mut data, offset).map_err(|error| broken(&error))?;
            let mut response = Vec::with_capacity(data.len() + 16);
            pb::add_number(&mut response, 1, offset);
            pb::put_bytes(&mut response, 2, &data);
            call.send(&response)?;
            offset += data.len() as u64;
        }
        Ok(())
    }

    /// Each message is answered before the next is read. A commit, or an error, ends the call; without one,
    /// what was written stays for the next writer.
    fn write(&self, call: &Call) -> Result<(), Status> {
        let mut writing = Writing::default();
        while let Some(bytes) = call.receive()? {
            let request = WriteRequest::parse(&bytes)?;
            let action = request.action;
            call.send(&self.write_step(&mut writing, request)?)?;
            if action == COMMIT {
                break;
            }
        }
        Ok(())
    }

    fn write_step<'a>(&'a self, writing: &mut Writing<'a>, request: WriteRequest) -> Result<Vec<u8>, Status> {
        let wrong = |why| Err(Status::new(Code::InvalidArgument, format!("write content: {}", why)));
        if request.offset < 0 || request.total < 0 {
            return wrong("a number is negative");
        }
        let (offset, total) = (request.offset as u64, request.total as u64);
        if writing.ingest.is_none() {
            if request.name.is_empty() {
                return wrong("the first message must have a ref");
            }
            writing.ingest = Some(self.store.begin(&request.name, total)?);
        }
        let ingest = writing.ingest.as_mut().unwrap();
        if total > 0 {
            writing.total = total;
        }
        if !request.expected.is_empty() {
            digest::hex_of(&request.expected)?;
            if self.store.info(&request.expected).is_ok() {
                let _ = self.store.abort(&ingest.progress.name); // somebody was faster
                let why = format!("content {}: already exists", request.expected);
                return Err(Status::new(Code::AlreadyExists, why));
            }
            writing.expected = request.expected;
        }
        if request.action != STAT {
            let at = ingest.progress.offset;
            if offset > 0 && offset != at {
                let name = &ingest.progress.name;
                let why = format!("write to ingest {} at offset {}: it is at {}", name, offset, at);
                return Err(Status::new(Code::OutOfRange, why));
            }
            if offset == 0 && at > 0 {
                ingest.truncate()?;
            }
            ingest.write(request.data)?;
        }
        if request.action == COMMIT {
            ingest.commit(writing.total, &writing.expected, request.labels)?;
        }
        Ok(written(request.action, writing.total, &ingest.digest(), &ingest.progress))
    }
}

impl berth::Plugin for @Class@ {
    const TYPE: &'static str = "io.containerd.content.v1";
    const ID: &'static str = "@name@";
    const SERVICE: &'static str = "containerd.services.content.v1.Content";
    const METHODS: &'static [berth::Method] = &[
        berth::method("Info"),
        berth::method("Update"),
        berth::server_stream("List"),
        berth::method("Delete"),
        berth::server_stream("Read"),
        berth::method("Status"),
        berth::method("ListStatuses"),
        berth::both_streams("Write"),
        berth::method("Abort"),
    ];
    const DESCRIPTORS: &'static [u8] = &[]; // the daemon knows the service

    /// Runs once, before any call. What it returns as an error is what the administrator reads.
    fn create(host: &Host) -> Result<Self, Status> {
        let configured = host.config("root_path");
        let root = if configured.is_empty() { host.property("root") } else { configured };
        Ok(@Class@ { store: store::Store::open(Path::new(&root))? })
    }

    /// Any thread, several at once. What panics is answered as INTERNAL.
    fn call(&self, method: u32, call: &Call) -> Result<Vec<u8>, Status> {
        let nothing = |()| Vec::new();
        if method == 7 {
            return self.write(call).map(nothing);
        }
        let bytes = call.request();
        match method {
            0 => self.store.info(&first_text(bytes)?).map(|info| with(&info.encode())),
            1 => self.update(bytes).map(|info| with(&info.encode())),
            2 => self.list(&pb::texts(bytes, 1)?, call).map(nothing),
            3 => self.store.remove(&first_text(bytes)?).map(nothing),
            4 => self.read(bytes, call).map(nothing),
            5 => self.store.progress(&first_text(bytes)?).map(|progress| with(&progress.encode())),
            6 => self.list_statuses(&pb::texts(bytes, 1)?),
            _ => self.store.abort(&first_text(bytes)?).map(nothing),
        }
    }
}

berth::export!(@Class@);
