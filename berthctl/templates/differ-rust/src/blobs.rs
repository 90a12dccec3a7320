//! The content store that this plugin is connected to.
use crate::berth::{Call, Code, Host, Status};
use crate::client::{Client, Target};
use crate::pb::{self, Field, Value};

const CHUNK: usize = 1 << 20;
const WRITE: u64 = 1;
const COMMIT: u64 = 2;

/// A map<string, string> as the wire has it: bytes of entries.
pub type Labels = Vec<Vec<u8>>;

pub struct Blobs {
    target: Target,
}

fn method(name: &str) -> String {
    format!("containerd.services.content.v1.Content/{}", name)
}

impl Blobs {
    pub fn connect(host: &Host) -> Result<Blobs, Status> {
        Ok(Blobs { target: host.connect("content")? })
    }

    /// All of a blob. Calls are made in the name of `parent`: its deadline, its namespace.
    pub fn read(&self, parent: &Call, digest: &str) -> Result<Vec<u8>, Status> {
        let call = self.target.begin(&method("Read"), parent);
        call.send(&pb::put_text(1, digest))?;
        call.half_close();
        let mut blob = Vec::new();
        while let Some(response) = call.receive() {
            for field in pb::fields(&response) {
                match field {
                    Ok(Field { number: 2, value: Value::Bytes(bytes) }) => blob.extend_from_slice(bytes),
                    Ok(_) => {}
                    Err(_) => return Err(Status::new(Code::Internal, "the content store answers nonsense")),
                }
            }
        }
        call.ended()?;
        Ok(blob)
    }

    /// A blob that is there already is success. What failed may leave an ingest.
    pub fn store(&self, parent: &Call, name: &str, blob: &[u8], digest: &str, labels: &Labels) -> Result<(), Status> {
        let call = self.target.begin(&method("Write"), parent);
        for (index, data) in blob.chunks(CHUNK).enumerate() {
            let mut request = Vec::with_capacity(data.len() + 64);
            pb::add_number(&mut request, 1, WRITE);
            pb::add_text(&mut request, 2, name);
            pb::add_number(&mut request, 5, (index * CHUNK) as u64);
            pb::put_bytes(&mut request, 6, data);
            ask(&call, &request)?;
        }
        let mut request = Vec::new();
        pb::add_number(&mut request, 1, COMMIT);
        pb::add_text(&mut request, 2, name);
        pb::add_number(&mut request, 3, blob.len() as u64);
        pb::add_text(&mut request, 4, digest);
        pb::add_number(&mut request, 5, blob.len() as u64);
        for label in labels {
            pb::put_bytes(&mut request, 7, label);
        }
        match ask(&call, &request) {
            Err(status) if status.code == Code::AlreadyExists => Ok(()), // the same layer, as was wanted
            committed => committed,
        }
    }

    /// Also when the parent has been cancelled.
    pub fn abort(&self, parent: &Call, name: &str) {
        let call = self.target.begin_detached(&method("Abort"), parent);
        let _ = call.send(&pb::put_text(1, name));
        call.half_close();
        while call.receive().is_some() {}
    }
}

/// One request of Write, and its answer.
fn ask(call: &Client, request: &[u8]) -> Result<(), Status> {
    call.send(request)?;
    if call.receive().is_some() {
        return Ok(());
    }
    call.ended()?;
    Err(Status::new(Code::Internal, "the content store ended a write early"))
}
