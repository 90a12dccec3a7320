// The descriptors of the .proto, for reflection, as bytes in OUT_DIR. No crates: protoc does it.
use std::{env, path::PathBuf, process::Command};

fn main() {
    let proto = "proto/@ident@/v1/@ident@.proto";
    println!("cargo:rerun-if-changed={}", proto);
    println!("cargo:rerun-if-changed=plugin.toml");
    let out = PathBuf::from(env::var("OUT_DIR").unwrap()).join("descriptors.bin");
    let protoc = env::var("PROTOC").unwrap_or_else(|_| "protoc".to_string());
    let done = Command::new(&protoc)
        .args(["--proto_path=.", "--include_imports", proto])
        .arg(format!("--descriptor_set_out={}", out.display()))
        .status();
    match done {
        Ok(status) if status.success() => {}
        Ok(status) => panic!("{} failed: {}", protoc, status),
        Err(error) => panic!("{}: {}: install protobuf-compiler, or set PROTOC", protoc, error),
    }
}
