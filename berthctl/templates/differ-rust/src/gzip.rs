//! gzip (RFC 1952) of deflate streams (RFC 1951), whole in memory.
use crate::berth::{Code, Status};

const LENGTHS: [(u16, u8); 29] = [
    (3, 0), (4, 0), (5, 0), (6, 0), (7, 0), (8, 0), (9, 0), (10, 0), (11, 1), (13, 1), (15, 1), (17, 1), (19, 2), (23, 2),
    (27, 2), (31, 2), (35, 3), (43, 3), (51, 3), (59, 3), (67, 4), (83, 4), (99, 4), (115, 4), (131, 5), (163, 5), (195, 5),
    (227, 5), (258, 0),
]; // of codes 257 and on: the least, and how many bits are added
const DISTANCES: [(u16, u8); 30] = [
    (1, 0), (2, 0), (3, 0), (4, 0), (5, 1), (7, 1), (9, 2), (13, 2), (17, 3), (25, 3), (33, 4), (49, 4), (65, 5), (97, 5),
    (129, 6), (193, 6), (257, 7), (385, 7), (513, 8), (769, 8), (1025, 9), (1537, 9), (2049, 10), (3073, 10), (4097, 11),
    (6145, 11), (8193, 12), (12289, 12), (16385, 13), (24577, 13),
];
const END: usize = 256; // of a block

fn damaged() -> Status {
    Status::new(Code::InvalidArgument, "the layer is no gzip stream, or it is damaged or cut")
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut table = [0u32; 256];
    for (byte, entry) in table.iter_mut().enumerate() {
        *entry = (0..8).fold(byte as u32, |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb88320 } else { crc >> 1 });
    }
    !bytes.iter().fold(!0, |crc, &byte| crc >> 8 ^ table[((crc ^ u32::from(byte)) & 0xff) as usize])
}

/// The fixed code of deflate.
fn fixed_lengths() -> [u8; 288] {
    let mut lengths = [8; 288];
    lengths[144..256].fill(9);
    lengths[256..280].fill(7);
    lengths
}

/// The codes of symbols, by the lengths of the codes.
fn codes(lengths: &[u8]) -> Vec<u16> {
    let mut next = [0u32; 17];
    let mut code = 0;
    for bits in 1..=15 {
        code <<= 1;
        next[bits] = code;
        code += lengths.iter().filter(|&&length| usize::from(length) == bits).count() as u32;
    }
    let mut take = |length: u8| {
        let code = next[usize::from(length)];
        next[usize::from(length)] += u32::from(length != 0);
        code as u16
    };
    lengths.iter().map(|&length| take(length)).collect()
}

// -- unpacking ---------------------------------------------------------------------------------------

/// Bits, the lowest of each byte first.
struct Bits<'a> {
    rest: &'a [u8],
    held: u64,
    count: u32,
}

impl Bits<'_> {
    fn refill(&mut self) {
        while self.count <= 56 {
            match self.rest.split_first() {
                Some((&byte, rest)) => {
                    self.held |= u64::from(byte) << self.count;
                    self.rest = rest;
                    self.count += 8;
                }
                None => return,
            }
        }
    }

    fn drop(&mut self, count: u32) -> Option<()> {
        self.count = self.count.checked_sub(count)?;
        self.held >>= count;
        Some(())
    }

    fn take(&mut self, count: u32) -> Option<usize> {
        self.refill();
        let value = self.held & ((1 << count) - 1);
        self.drop(count)?;
        Some(value as usize)
    }
}

/// What a code stands for: an entry for all that can follow it, the symbol and the length of its code.
struct Decoder {
    bits: u32,
    table: Vec<(u16, u8)>,
}

impl Decoder {
    fn new(lengths: &[u8]) -> Option<Decoder> {
        let bits = u32::from(lengths.iter().copied().max()?);
        let used: u64 = lengths.iter().filter(|&&length| length != 0).map(|&length| 1u64 << (15 - length)).sum();
        if used > 1 << 15 {
            return None; // more codes than there is room for
        }
        let mut table = vec![(0, 0); 1 << bits];
        for ((symbol, code), &length) in codes(lengths).iter().enumerate().zip(lengths) {
            if length == 0 {
                continue;
            }
            let first = usize::from(code.reverse_bits() >> (16 - u16::from(length)));
            for at in (first..table.len()).step_by(1 << length) {
                table[at] = (symbol as u16, length);
            }
        }
        Some(Decoder { bits, table })
    }

    fn symbol(&self, bits: &mut Bits) -> Option<usize> {
        bits.refill();
        let (symbol, length) = self.table[(bits.held & ((1 << self.bits) - 1)) as usize];
        if length == 0 {
            return None; // no code begins so
        }
        bits.drop(length.into())?;
        Some(symbol.into())
    }
}

fn stored(bits: &mut Bits, out: &mut Vec<u8>) -> Option<()> {
    bits.drop(bits.count % 8)?;
    let size = bits.take(16)?;
    if bits.take(16)? != !size & 0xffff {
        return None;
    }
    for _ in 0..size {
        out.push(bits.take(8)? as u8);
    }
    Some(())
}

fn dynamic(bits: &mut Bits) -> Option<(Decoder, Decoder)> {
    const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
    let (symbols, distances, count) = (257 + bits.take(5)?, 1 + bits.take(5)?, 4 + bits.take(4)?);
    let mut of_lengths = [0; 19];
    for &at in &ORDER[..count] {
        of_lengths[at] = bits.take(3)? as u8;
    }
    let decoder = Decoder::new(&of_lengths)?;
    let mut lengths = Vec::new();
    while lengths.len() < symbols + distances {
        let (length, times) = match decoder.symbol(bits)? {
            16 => (*lengths.last()?, 3 + bits.take(2)?),
            17 => (0, 3 + bits.take(3)?),
            18 => (0, 11 + bits.take(7)?),
            length => (length as u8, 1),
        };
        lengths.resize(lengths.len() + times, length);
    }
    if lengths.len() > symbols + distances {
        return None;
    }
    Some((Decoder::new(&lengths[..symbols])?, Decoder::new(&lengths[symbols..])?))
}

/// `begin`: where the stream begins in `out`; nothing refers to what is before it.
fn block(bits: &mut Bits, codes: &(Decoder, Decoder), begin: usize, out: &mut Vec<u8>) -> Option<()> {
    loop {
        match codes.0.symbol(bits)? {
            END => return Some(()),
            byte if byte < END => out.push(byte as u8),
            symbol => {
                let &(least, more) = LENGTHS.get(symbol - END - 1)?;
                let length = usize::from(least) + bits.take(more.into())?;
                let &(least, more) = DISTANCES.get(codes.1.symbol(bits)?)?;
                let distance = usize::from(least) + bits.take(more.into())?;
                let from = out.len().checked_sub(distance).filter(|&from| from >= begin)?;
                for at in from..from + length {
                    out.push(out[at]); // may be one of those just added
                }
            }
        }
    }
}

fn inflate(bits: &mut Bits, out: &mut Vec<u8>) -> Option<()> {
    let begin = out.len();
    let fixed = || Some((Decoder::new(&fixed_lengths())?, Decoder::new(&[5; 30])?));
    loop {
        let last = bits.take(1)? == 1;
        let codes = match bits.take(2)? {
            0 => None,
            1 => Some(fixed()?),
            2 => Some(dynamic(bits)?),
            _ => return None,
        };
        match codes {
            Some(codes) => block(bits, &codes, begin, out)?,
            None => stored(bits, out)?,
        }
        if last {
            return bits.drop(bits.count % 8);
        }
    }
}

fn header(bits: &mut Bits) -> Option<()> {
    if bits.take(24)? != 0x08_8b1f {
        return None; // another kind of stream, or another method
    }
    let flags = bits.take(8)?;
    bits.take(32)?;
    bits.take(16)?;
    if flags & 4 != 0 {
        for _ in 0..bits.take(16)? {
            bits.take(8)?;
        }
    }
    for text in [8, 16] {
        while flags & text != 0 && bits.take(8)? != 0 {}
    }
    if flags & 2 != 0 {
        bits.take(16)?;
    }
    Some(())
}

fn member(bits: &mut Bits, out: &mut Vec<u8>) -> Option<()> {
    header(bits)?;
    let begin = out.len();
    inflate(bits, out)?;
    let whole = bits.take(32)? as u32 == crc32(&out[begin..]) && bits.take(32)? as u32 == (out.len() - begin) as u32;
    if whole {
        Some(())
    } else {
        None
    }
}

/// INVALID_ARGUMENT for what is damaged or cut. Several members behind one another are one stream.
pub fn unpacked(blob: &[u8]) -> Result<Vec<u8>, Status> {
    let mut bits = Bits { rest: blob, held: 0, count: 0 };
    let mut out = Vec::new();
    loop {
        member(&mut bits, &mut out).ok_or_else(damaged)?;
        bits.refill();
        if bits.count == 0 {
            return Ok(out);
        }
    }
}

// -- packing -----------------------------------------------------------------------------------------

#[derive(Default)]
struct Writer {
    out: Vec<u8>,
    held: u64,
    count: u32,
}

impl Writer {
    fn put(&mut self, value: usize, count: u32) {
        self.held |= (value as u64) << self.count;
        self.count += count;
        while self.count >= 8 {
            self.out.push(self.held as u8);
            self.held >>= 8;
            self.count -= 8;
        }
    }

    /// Codes begin with their highest bit.
    fn put_code(&mut self, code: u16, length: u8) {
        self.put((code.reverse_bits() >> (16 - u16::from(length))).into(), length.into());
    }
}

/// Which of the codes, and what is added to it.
fn split(table: &[(u16, u8)], value: usize) -> (usize, usize, u32) {
    let at = table.partition_point(|&(least, _)| usize::from(least) <= value) - 1;
    (at, value - usize::from(table[at].0), table[at].1.into())
}

/// One block of the fixed code, which refers to the last place that began with the same four bytes: simple
/// first.
fn deflate(bytes: &[u8], writer: &mut Writer) {
    const WINDOW: usize = 32768;
    const LONGEST: usize = 258;
    const HASH_BITS: u32 = 15;
    let lengths = fixed_lengths();
    let codes = codes(&lengths);
    let mut places = vec![usize::MAX; 1 << HASH_BITS];
    let place = |at: usize| {
        let four = u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        (four.wrapping_mul(0x9e3779b1) >> (32 - HASH_BITS)) as usize
    };
    writer.put(1, 1); // the last block
    writer.put(1, 2);
    let mut at = 0;
    while at < bytes.len() {
        let mut same = 0;
        let mut before = usize::MAX;
        if at + 4 <= bytes.len() {
            before = std::mem::replace(&mut places[place(at)], at);
            if before != usize::MAX && at - before <= WINDOW {
                let both = bytes[before..].iter().zip(&bytes[at..]);
                same = both.take(LONGEST).take_while(|(a, b)| a == b).count();
            }
        }
        if same < 4 {
            writer.put_code(codes[usize::from(bytes[at])], lengths[usize::from(bytes[at])]);
            at += 1;
            continue;
        }
        let (code, more, bits) = split(&LENGTHS, same);
        writer.put_code(codes[END + 1 + code], lengths[END + 1 + code]);
        writer.put(more, bits);
        let (code, more, bits) = split(&DISTANCES, at - before);
        writer.put_code(code as u16, 5);
        writer.put(more, bits);
        at += same;
    }
    writer.put_code(codes[END], lengths[END]);
    writer.put(0, (8 - writer.count % 8) % 8);
}

pub fn packed(layer: &[u8]) -> Vec<u8> {
    let mut writer = Writer { out: vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff], ..Writer::default() };
    deflate(layer, &mut writer);
    let mut out = writer.out;
    out.extend_from_slice(&crc32(layer).to_le_bytes());
    out.extend_from_slice(&(layer.len() as u32).to_le_bytes());
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::process::{Command, Stdio};

    fn noise(size: usize, kinds: u64) -> Vec<u8> {
        let mut state = 1u64;
        let mut next = || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            state >> 33
        };
        (0..size).map(|_| (next() % kinds) as u8).collect()
    }

    fn samples() -> Vec<Vec<u8>> {
        let text = "a tree of files, and another tree of files; ".repeat(3000).into_bytes();
        vec![Vec::new(), b"x".to_vec(), vec![0; 100_000], text, noise(100_000, 256), noise(200_000, 3), noise(50_000, 20)]
    }

    /// What the machine's own program makes of it, with all kinds of blocks.
    fn through(program: &[&str], input: &[u8]) -> Vec<u8> {
        let mut child = Command::new(program[0])
            .args(&program[1..])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_vec();
        let writer = std::thread::spawn(move || stdin.write_all(&input));
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap().unwrap();
        assert!(output.status.success());
        output.stdout
    }

    #[test]
    fn others_read_it_and_it_reads_others() {
        for sample in samples() {
            let blob = packed(&sample);
            assert!(unpacked(&blob).unwrap() == sample, "{} bytes", sample.len());
            assert!(through(&["gzip", "-dc"], &blob) == sample, "{} bytes by gzip", sample.len());
            for level in ["-1", "-6", "-9"] {
                let theirs = through(&["gzip", "-c", level], &sample);
                assert!(unpacked(&theirs).unwrap() == sample, "{} bytes of gzip {}", sample.len(), level);
            }
        }
        let twice = [packed(b"one "), packed(b"two")].concat();
        assert_eq!(unpacked(&twice).unwrap(), b"one two");
    }

    #[test]
    fn damage_is_refused() {
        let sample = samples().swap_remove(3);
        let blob = through(&["gzip", "-c"], &sample);
        for size in 0..blob.len() {
            assert!(unpacked(&blob[..size]).is_err(), "cut after {} bytes", size);
        }
        for at in 10..blob.len() {
            let mut wrong = blob.clone();
            wrong[at] ^= 0x10;
            assert!(unpacked(&wrong).map_or(true, |bytes| bytes == sample), "byte {} is another", at);
        }
    }
}
