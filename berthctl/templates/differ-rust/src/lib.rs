//! containerd.services.diff.v1.Diff: layers from the content store onto mounts, and the difference of mounts
//! into the content store. The boundary to the daemon is in berth.rs and client.rs.

mod berth;
mod blobs;
mod client;
mod digest;
mod gzip;
mod layer;
mod mounted;
mod pb;
mod system;
mod tar;

use berth::{Call, Code, Host, Status};
use digest::digest_of;
use mounted::{in_root_of, Mount};
use pb::{Field, Malformed, Value};
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::path::PathBuf;

const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
/// The label by which clients know a layer's diff id.
const UNCOMPRESSED: &str = "containerd.io/uncompressed";

pub struct @Class@ {
    content: blobs::Blobs,
    folder: PathBuf, // for mount points
}

impl From<Malformed> for Status {
    fn from(_: Malformed) -> Status {
        Status::new(Code::InvalidArgument, "the request is not well-formed")
    }
}

/// containerd.types.Descriptor, as far as it goes here.
#[derive(Default)]
struct Descriptor {
    media_type: String,
    digest: String,
    size: u64,
}

impl Descriptor {
    fn decode(bytes: &[u8]) -> Result<Descriptor, Malformed> {
        let mut descriptor = Descriptor::default();
        for field in pb::fields(bytes) {
            match field? {
                Field { number: 1, value: Value::Bytes(bytes) } => {
                    descriptor.media_type = pb::text(bytes).ok_or(Malformed)?
                }
                Field { number: 2, value: Value::Bytes(bytes) } => {
                    descriptor.digest = pb::text(bytes).ok_or(Malformed)?
                }
                _ => {}
            }
        }
        Ok(descriptor)
    }

    /// Of these bytes.
    fn of(media_type: &str, bytes: &[u8]) -> Descriptor {
        Descriptor { media_type: media_type.into(), digest: digest_of(bytes), size: bytes.len() as u64 }
    }

    /// A response that has it as its field of this number.
    fn as_response(&self, number: u64) -> Vec<u8> {
        let mut descriptor = pb::put_text(1, &self.media_type);
        pb::add_text(&mut descriptor, 2, &self.digest);
        pb::add_number(&mut descriptor, 3, self.size);
        let mut response = Vec::new();
        pb::put_bytes(&mut response, number, &descriptor);
        response
    }
}

#[derive(Default)]
struct DiffRequest {
    left: Vec<Mount>,
    right: Vec<Mount>,
    media_type: String,
    name: String, // of the ingest
    labels: blobs::Labels,
}

impl DiffRequest {
    fn parse(bytes: &[u8]) -> Result<DiffRequest, Malformed> {
        let mut request = DiffRequest::default();
        for field in pb::fields(bytes) {
            if let Field { number, value: Value::Bytes(bytes) } = field? {
                match number {
                    1 => request.left.push(Mount::decode(bytes)?),
                    2 => request.right.push(Mount::decode(bytes)?),
                    3 => request.media_type = pb::text(bytes).ok_or(Malformed)?,
                    4 => request.name = pb::text(bytes).ok_or(Malformed)?,
                    5 => {
                        pb::entry(bytes)?; // a label, or nonsense
                        request.labels.push(bytes.to_vec());
                    }
                    _ => {}
                }
            }
        }
        Ok(request)
    }
}

/// Whether layers of this type are compressed. Told by its end: OCI writes "+gzip", docker ".gzip".
fn is_gzip(media_type: &str) -> Result<bool, Status> {
    let end = [LAYER, DOCKER_LAYER].iter().find_map(|base| media_type.strip_prefix(base));
    match end {
        Some("") => Ok(false),
        Some("+gzip") | Some(".gzip") => Ok(true),
        _ => Err(Status::new(
            Code::Unimplemented,
            format!("media type {:.200?} is not that of a layer which this differ knows: not implemented", media_type),
        )),
    }
}

impl @Class@ {
    /// The layer is in memory: simple first.
    fn apply(&self, call: &Call) -> Result<Vec<u8>, Status> {
        let mut wanted = Descriptor::default();
        let mut mounts = Vec::new();
        for field in pb::fields(call.request()) {
            match field? {
                Field { number: 1, value: Value::Bytes(bytes) } => wanted = Descriptor::decode(bytes)?,
                Field { number: 2, value: Value::Bytes(bytes) } => mounts.push(Mount::decode(bytes)?),
                _ => {}
            }
        }
        let gzip = is_gzip(&wanted.media_type)?;
        digest::hex_of(&wanted.digest)?;
        let blob = self.content.read(call, &wanted.digest)?;
        if digest_of(&blob) != wanted.digest {
            let why = format!("content {}: the store gives other bytes", wanted.digest);
            return Err(Status::new(Code::DataLoss, why));
        }
        let layer = if gzip { gzip::unpacked(&blob)? } else { blob };
        in_root_of(&mounts, &self.folder, || layer::unpack_here(&layer))?;
        Ok(Descriptor::of(LAYER, &layer).as_response(1))
    }

    fn diff(&self, call: &Call) -> Result<Vec<u8>, Status> {
        let mut request = DiffRequest::parse(call.request())?;
        if request.media_type.is_empty() {
            request.media_type = LAYER.to_string() + "+gzip";
        }
        let gzip = is_gzip(&request.media_type)?;
        let lower = in_root_of(&request.left, &self.folder, layer::look_at_tree)?;
        let layer = in_root_of(&request.right, &self.folder, || layer::pack_changes(&lower))?;
        if gzip {
            let mut label = pb::put_text(1, UNCOMPRESSED);
            pb::add_text(&mut label, 2, &digest_of(&layer));
            request.labels.push(label);
        }
        let blob = if gzip { gzip::packed(&layer) } else { layer };
        let made = Descriptor::of(&request.media_type, &blob);
        let made_up = request.name.is_empty();
        if made_up {
            request.name = format!("@name@-{:x}", RandomState::new().build_hasher().finish());
        }
        let stored = self.content.store(call, &request.name, &blob, &made.digest, &request.labels);
        if stored.is_err() && made_up {
            self.content.abort(call, &request.name); // nobody else knows its name
        }
        stored.map(|()| made.as_response(3))
    }
}

impl berth::Plugin for @Class@ {
    const TYPE: &'static str = "io.containerd.differ.v1";
    const ID: &'static str = "@name@";
    const SERVICE: &'static str = "containerd.services.diff.v1.Diff";
    const METHODS: &'static [berth::Method] = &[berth::method("Apply"), berth::method("Diff")];
    const DESCRIPTORS: &'static [u8] = &[]; // the daemon knows the service

    /// Runs once, before any call. What it returns as an error is what the administrator reads.
    fn create(host: &Host) -> Result<Self, Status> {
        Ok(@Class@ { content: blobs::Blobs::connect(host)?, folder: host.property("state").into() })
    }

    /// Any thread, several at once. What panics is answered as INTERNAL.
    fn call(&self, method: u32, call: &Call) -> Result<Vec<u8>, Status> {
        match method {
            0 => self.apply(call),
            _ => self.diff(call),
        }
    }
}

berth::export!(@Class@);
