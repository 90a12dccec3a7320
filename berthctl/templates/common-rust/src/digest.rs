//! SHA-256, and digests as images write them: "sha256:" and 64 small hexadecimal digits.
use crate::berth::{Code, Status};

const PREFIX: &str = "sha256:";

/// FIPS 180-4 has the names and the numbers.
const K: [u32; 64] = [
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98,
    0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786,
    0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8,
    0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13,
    0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819,
    0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a,
    0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7,
    0xc67178f2,
];

#[derive(Clone)]
pub struct Sha256 {
    state: [u32; 8],
    block: Vec<u8>, // less than 64 bytes, that wait for more
    size: u64,
}

impl Sha256 {
    pub fn new() -> Sha256 {
        let state = [
            0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
        ];
        Sha256 { state, block: Vec::with_capacity(64), size: 0 }
    }

    pub fn add(&mut self, mut bytes: &[u8]) {
        self.size += bytes.len() as u64;
        if !self.block.is_empty() {
            let (taken, rest) = bytes.split_at(bytes.len().min(64 - self.block.len()));
            self.block.extend_from_slice(taken);
            bytes = rest;
            if self.block.len() < 64 {
                return;
            }
            take_block(&mut self.state, &self.block);
            self.block.clear();
        }
        let mut blocks = bytes.chunks_exact(64);
        for block in &mut blocks {
            take_block(&mut self.state, block);
        }
        self.block.extend_from_slice(blocks.remainder());
    }

    /// Of what was added so far; more may be added.
    pub fn digest(&self) -> String {
        let mut copy = self.clone();
        let mut end = vec![0x80];
        end.resize(1 + (119 - self.size as usize % 64) % 64, 0); // 8 bytes are left of the last block
        end.extend_from_slice(&(self.size * 8).to_be_bytes());
        copy.add(&end);
        let hex: String = copy.state.iter().map(|word| format!("{:08x}", word)).collect();
        PREFIX.to_string() + &hex
    }
}

fn take_block(state: &mut [u32; 8], block: &[u8]) {
    let mut w = [0u32; 64];
    for (word, bytes) in w.iter_mut().zip(block.chunks_exact(4)) {
        *word = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    }
    for i in 16..64 {
        let s0 = w[i - 15].rotate_right(7) ^ w[i - 15].rotate_right(18) ^ w[i - 15] >> 3;
        let s1 = w[i - 2].rotate_right(17) ^ w[i - 2].rotate_right(19) ^ w[i - 2] >> 10;
        w[i] = w[i - 16].wrapping_add(s0).wrapping_add(w[i - 7]).wrapping_add(s1);
    }
    let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = *state;
    for i in 0..64 {
        let s1 = e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25);
        let choice = (e & f) ^ (!e & g);
        let t1 = h.wrapping_add(s1).wrapping_add(choice).wrapping_add(K[i]).wrapping_add(w[i]);
        let s0 = a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22);
        let t2 = s0.wrapping_add((a & b) ^ (a & c) ^ (b & c));
        h = g;
        g = f;
        f = e;
        e = d.wrapping_add(t1);
        d = c;
        c = b;
        b = a;
        a = t1.wrapping_add(t2);
    }
    for (word, more) in state.iter_mut().zip([a, b, c, d, e, f, g, h]) {
        *word = word.wrapping_add(more);
    }
}

pub fn digest_of(bytes: &[u8]) -> String {
    let mut sum = Sha256::new();
    sum.add(bytes);
    sum.digest()
}

/// The hexadecimal digits of a digest; INVALID_ARGUMENT for what is none. They are a safe name of a file.
pub fn hex_of(digest: &str) -> Result<&str, Status> {
    let fits = |hex: &&str| hex.len() == 64 && hex.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'));
    digest
        .strip_prefix(PREFIX)
        .filter(fits)
        .ok_or_else(|| Status::new(Code::InvalidArgument, format!("{:.200?} is no digest of SHA-256", digest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first two are examples of FIPS 180-4.
    #[test]
    fn digests_are_those_of_sha_256() {
        let of = |bytes: &[u8]| digest_of(bytes)[PREFIX.len()..].to_string();
        assert_eq!(of(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(of(b""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        let many = [b'a'; 119]; // ends at the edge of a block, with what follows it
        assert_eq!(of(&many), "31eba51c313a5c08226adf18d4a359cfdfd8d2e816b13f4af952f7ea6584dcfb");
        let mut sum = Sha256::new();
        sum.add(&many[..60]);
        sum.add(&many[60..]);
        assert_eq!(sum.digest(), digest_of(&many));
    }

    #[test]
    fn what_is_no_digest_is_refused() {
        assert!(hex_of(&digest_of(b"x")).is_ok());
        for text in ["", "sha256:", "sha256:../../etc/passwd", &digest_of(b"x")[7..], &digest_of(b"x").to_uppercase()] {
            assert!(hex_of(text).is_err(), "{}", text);
        }
    }
}
