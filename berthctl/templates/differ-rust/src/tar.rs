//! tar archives in memory: ustar with the records of pax, and what GNU tar writes for long names.
use crate::berth::{Code, Status};
use std::collections::BTreeMap;

const BLOCK: usize = 512;
const ATTRIBUTE: &[u8] = b"SCHILY.xattr.";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    File,
    HardLink,
    Symlink,
    Character,
    Block,
    Directory,
    Fifo,
}

const KINDS: [(u8, Kind); 7] = [
    (b'0', Kind::File),
    (b'1', Kind::HardLink),
    (b'2', Kind::Symlink),
    (b'3', Kind::Character),
    (b'4', Kind::Block),
    (b'5', Kind::Directory),
    (b'6', Kind::Fifo),
];

/// Names are bytes, as the archive has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    pub name: Vec<u8>,
    pub kind: Kind,
    pub link: Vec<u8>,
    pub mode: u32,
    pub user: u32,
    pub group: u32,
    pub seconds: i64,
    pub nanos: u32,
    pub device: (u32, u32),
    pub attributes: Vec<(Vec<u8>, Vec<u8>)>,
    pub content: &'a [u8],
}

type Records = BTreeMap<Vec<u8>, Vec<u8>>;

fn wrong(what: &str) -> Status {
    Status::new(Code::InvalidArgument, format!("layer: {}", what))
}

/// Up to the first NUL.
fn text(field: &[u8]) -> &[u8] {
    field.split(|&byte| byte == 0).next().unwrap_or(field)
}

/// Octal digits, or with the first bit set a number in base 256.
fn number(field: &[u8]) -> Result<i64, Status> {
    if field[0] & 0x80 != 0 {
        let first = i128::from(field[0] & 0x3f) - i128::from(field[0] & 0x40);
        let value = field[1..].iter().fold(first, |value, &byte| value << 8 | i128::from(byte));
        return i64::try_from(value).map_err(|_| wrong("a number is too large"));
    }
    let digits: Vec<u8> = text(field).iter().copied().filter(|&byte| byte != b' ').collect();
    let digits = std::str::from_utf8(&digits).unwrap_or("?");
    if digits.is_empty() {
        return Ok(0);
    }
    i64::from_str_radix(digits, 8).map_err(|_| wrong("a number is malformed"))
}

fn decimal(value: &[u8]) -> Result<i64, Status> {
    let parsed = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
    parsed.ok_or_else(|| wrong("a number of a record is malformed"))
}

fn parse_records(mut rest: &[u8], out: &mut Records) -> Result<(), Status> {
    let malformed = || wrong("a record is malformed");
    while !rest.is_empty() {
        let space = rest.iter().position(|&byte| byte == b' ').ok_or_else(malformed)?;
        let size = decimal(&rest[..space])? as usize;
        if size <= space + 1 || size > rest.len() || rest[size - 1] != b'\n' {
            return Err(malformed());
        }
        let record = &rest[space + 1..size - 1];
        let equals = record.iter().position(|&byte| byte == b'=').ok_or_else(malformed)?;
        out.insert(record[..equals].to_vec(), record[equals + 1..].to_vec());
        rest = &rest[size..];
    }
    Ok(())
}

/// "SECONDS.FRACTION"
fn time(value: &[u8]) -> Result<(i64, u32), Status> {
    let point = value.iter().position(|&byte| byte == b'.').unwrap_or(value.len());
    let seconds = decimal(&value[..point])?;
    let mut digits: Vec<u8> = value.iter().skip(point + 1).take(9).copied().collect();
    digits.resize(9, b'0');
    let nanos = decimal(&digits)? as u32;
    if value[0] == b'-' && nanos != 0 {
        return Ok((seconds - 1, 1_000_000_000 - nanos)); // the fraction counts down, too
    }
    Ok((seconds, nanos))
}

pub struct Reader<'a> {
    rest: &'a [u8],
    globals: Records,
}

impl<'a> Reader<'a> {
    pub fn new(archive: &'a [u8]) -> Self {
        Reader { rest: archive, globals: Records::new() }
    }

    /// The next header; none at the end of the archive.
    fn header(&mut self) -> Result<Option<&'a [u8]>, Status> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        if self.rest.len() < BLOCK {
            return Err(wrong("it is cut in a header"));
        }
        let (header, rest) = self.rest.split_at(BLOCK);
        self.rest = rest;
        if header.iter().all(|&byte| byte == 0) {
            return Ok(None);
        }
        let sum = |as_signed: bool| {
            let value = |byte: u8| if as_signed { i64::from(byte as i8) } else { i64::from(byte) };
            let bytes = header.iter().enumerate();
            bytes.map(|(at, &byte)| if (148..156).contains(&at) { 32 } else { value(byte) }).sum::<i64>()
        };
        let wanted = number(&header[148..156])?;
        if wanted != sum(false) && wanted != sum(true) {
            return Err(wrong("the sum of a header is wrong"));
        }
        Ok(Some(header))
    }

    fn content(&mut self, size: i64) -> Result<&'a [u8], Status> {
        let size = usize::try_from(size).ok().filter(|&size| size <= self.rest.len());
        let size = size.ok_or_else(|| wrong("an entry is larger than the archive"))?;
        let (content, rest) = self.rest.split_at(size);
        self.rest = &rest[rest.len().min((BLOCK - size % BLOCK) % BLOCK)..];
        Ok(content)
    }

    pub fn next(&mut self) -> Result<Option<Entry<'a>>, Status> {
        let mut records = self.globals.clone();
        while let Some(header) = self.header()? {
            let size = number(&header[124..136])?;
            match header[156] {
                b'x' => parse_records(self.content(size)?, &mut records)?,
                b'g' => {
                    parse_records(self.content(size)?, &mut self.globals)?;
                    records.extend(self.globals.clone());
                }
                b'L' => drop(records.insert(b"path".to_vec(), text(self.content(size)?).to_vec())),
                b'K' => drop(records.insert(b"linkpath".to_vec(), text(self.content(size)?).to_vec())),
                kind => return self.entry(header, kind, size, records).map(Some),
            }
        }
        Ok(None)
    }

    fn entry(&mut self, header: &[u8], kind: u8, size: i64, records: Records) -> Result<Entry<'a>, Status> {
        let mut name = text(&header[..100]).to_vec();
        if &header[257..263] == b"ustar\0" && header[345] != 0 {
            name = [text(&header[345..500]), b"/", &name].concat();
        }
        // Old archives mark directories by the end of their name alone.
        let old = kind == 0 || kind == b'7';
        let kind = if old && name.ends_with(b"/") { b'5' } else if old { b'0' } else { kind };
        let kind = KINDS.iter().find(|(letter, _)| *letter == kind).map(|&(_, kind)| kind);
        let mut entry = Entry {
            name,
            kind: kind.ok_or_else(|| wrong("an entry is of a kind that is not known"))?,
            link: text(&header[157..257]).to_vec(),
            mode: number(&header[100..108])? as u32 & 0o7777,
            user: number(&header[108..116])? as u32,
            group: number(&header[116..124])? as u32,
            seconds: number(&header[136..148])?,
            nanos: 0,
            device: (number(&header[329..337])? as u32, number(&header[337..345])? as u32),
            attributes: Vec::new(),
            content: &[],
        };
        let mut size = size;
        for (key, value) in records {
            match key.as_slice() {
                b"path" => entry.name = value,
                b"linkpath" => entry.link = value,
                b"size" => size = decimal(&value)?,
                b"uid" => entry.user = decimal(&value)? as u32,
                b"gid" => entry.group = decimal(&value)? as u32,
                b"mtime" if !value.is_empty() => {
                    let (seconds, nanos) = time(&value)?;
                    entry.seconds = seconds;
                    entry.nanos = nanos;
                }
                key => {
                    if let Some(name) = key.strip_prefix(ATTRIBUTE) {
                        entry.attributes.push((name.to_vec(), value));
                    }
                }
            }
        }
        if entry.kind == Kind::File {
            entry.content = self.content(size)?; // what others claim to have is not there
        }
        Ok(entry)
    }
}

// -- writing -----------------------------------------------------------------------------------------

#[derive(Default)]
pub struct Writer {
    out: Vec<u8>,
}

/// A record counts its own length, too.
fn add_record(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut size = rest;
    while size != rest + size.to_string().len() {
        size = rest + size.to_string().len();
    }
    for part in [size.to_string().as_bytes(), b" ", key, b"=", value, b"\n"] {
        out.extend_from_slice(part);
    }
}

/// Octal digits and a NUL; false when it does not fit.
fn put_number(field: &mut [u8], value: u64) -> bool {
    let digits = format!("{:0width$o}\0", value, width = field.len() - 1);
    let fits = digits.len() == field.len();
    if fits {
        field.copy_from_slice(digits.as_bytes());
    }
    fits
}

fn put_text(field: &mut [u8], text: &[u8]) -> bool {
    let size = text.len().min(field.len());
    field[..size].copy_from_slice(&text[..size]);
    size == text.len()
}

impl Writer {
    fn header(&mut self, entry: &Entry, letter: u8, size: usize) -> Vec<u8> {
        let mut header = [0u8; BLOCK];
        let mut records = Vec::new();
        let mut field = |fits: bool, key: &str, value: &[u8]| {
            if !fits {
                add_record(&mut records, key.as_bytes(), value);
            }
        };
        field(put_text(&mut header[..100], &entry.name), "path", &entry.name);
        field(put_text(&mut header[157..257], &entry.link), "linkpath", &entry.link);
        put_number(&mut header[100..108], entry.mode.into());
        field(put_number(&mut header[108..116], entry.user.into()), "uid", entry.user.to_string().as_bytes());
        field(put_number(&mut header[116..124], entry.group.into()), "gid", entry.group.to_string().as_bytes());
        field(put_number(&mut header[124..136], size as u64), "size", size.to_string().as_bytes());
        let whole = entry.nanos == 0 && entry.seconds >= 0;
        let fits = put_number(&mut header[136..148], entry.seconds.max(0) as u64);
        field(whole && fits, "mtime", time_text(entry.seconds, entry.nanos).as_bytes());
        header[156] = letter;
        header[257..265].copy_from_slice(b"ustar\x0000");
        put_number(&mut header[329..337], entry.device.0.into());
        put_number(&mut header[337..345], entry.device.1.into());
        header[148..156].fill(b' ');
        let sum = header.iter().map(|&byte| u64::from(byte)).sum();
        put_number(&mut header[148..155], sum);
        self.out.extend_from_slice(&header);
        for (name, value) in &entry.attributes {
            add_record(&mut records, &[ATTRIBUTE, name.as_slice()].concat(), value);
        }
        records
    }

    fn content(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
        let filled = self.out.len() + (BLOCK - bytes.len() % BLOCK) % BLOCK;
        self.out.resize(filled, 0);
    }

    pub fn add(&mut self, entry: &Entry) {
        let letter = KINDS.iter().find(|(_, kind)| *kind == entry.kind).map_or(b'0', |&(letter, _)| letter);
        let begin = self.out.len();
        let records = self.header(entry, letter, entry.content.len());
        if !records.is_empty() {
            // What does not fit goes before it.
            let header = self.out.split_off(begin);
            let name = b"records".to_vec();
            let before = Entry { name, link: Vec::new(), attributes: Vec::new(), nanos: 0, seconds: 0, user: 0, group: 0, ..entry.clone() };
            self.header(&before, b'x', records.len());
            self.content(&records);
            self.out.extend_from_slice(&header);
        }
        self.content(entry.content);
    }

    pub fn finish(mut self) -> Vec<u8> {
        self.out.resize(self.out.len() + 2 * BLOCK, 0);
        self.out
    }
}

fn time_text(seconds: i64, nanos: u32) -> String {
    match (seconds, nanos) {
        (seconds, 0) => seconds.to_string(),
        (seconds, nanos) if seconds < 0 => format!("-{}.{:09}", -(seconds + 1), 1_000_000_000 - nanos),
        (seconds, nanos) => format!("{}.{:09}", seconds, nanos),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str) -> Entry<'static> {
        Entry {
            name: name.into(),
            kind: Kind::File,
            link: Vec::new(),
            mode: 0o4755,
            user: 1000,
            group: 3_000_000, // more than an octal field takes
            seconds: 1_500_000_000,
            nanos: 7,
            device: (0, 0),
            attributes: vec![(b"user.a".to_vec(), b"\0\n=".to_vec())],
            content: b"some bytes",
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let long = format!("{}/{}", "l".repeat(200), "n".repeat(240));
        let entries = [
            entry("short"),
            entry(&long),
            Entry { kind: Kind::Symlink, link: long.clone().into(), content: &[], ..entry("link") },
            Entry { kind: Kind::Character, device: (1, 3), content: &[], ..entry("null") },
            Entry { seconds: -5, nanos: 250_000_000, attributes: Vec::new(), ..entry("old") },
        ];
        let mut writer = Writer::default();
        entries.iter().for_each(|entry| writer.add(entry));
        let archive = writer.finish();
        let mut reader = Reader::new(&archive);
        for entry in &entries {
            assert_eq!(reader.next().unwrap().as_ref(), Some(entry));
        }
        assert_eq!(reader.next().unwrap(), None);
        for size in 1..archive.len() - 2 * BLOCK {
            let mut reader = Reader::new(&archive[..size]);
            while let Ok(Some(_)) = reader.next() {} // ends, and reads nothing that is not there
        }
    }
}
