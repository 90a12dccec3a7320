//! As much of protobuf's wire format as this plugin needs, safe on any bytes.
#![allow(dead_code)] // not every plugin needs all of it

#[derive(Debug)]
pub struct Malformed;

pub enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

pub struct Field<'a> {
    pub number: u64,
    pub value: Value<'a>,
}

/// The fields of a message; ends after the first that is malformed.
pub fn fields(message: &[u8]) -> Fields<'_> {
    Fields { rest: message }
}

pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for (index, &byte) in self.rest.iter().enumerate().take(10) {
            value |= u64::from(byte & 0x7f).checked_shl(7 * index as u32).unwrap_or(0);
            if byte & 0x80 == 0 {
                self.rest = &self.rest[index + 1..];
                return Some(value);
            }
        }
        None
    }

    fn take(&mut self, size: u64) -> Option<&'a [u8]> {
        let size = usize::try_from(size).ok().filter(|&size| size <= self.rest.len())?;
        let (taken, rest) = self.rest.split_at(size);
        self.rest = rest;
        Some(taken)
    }

    fn field(&mut self) -> Option<Field<'a>> {
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Value::Number(self.varint()?),
            1 => Value::Number(u64::from_le_bytes(self.take(8)?.try_into().ok()?)),
            2 => {
                let size = self.varint()?;
                Value::Bytes(self.take(size)?)
            }
            5 => Value::Number(u64::from(u32::from_le_bytes(self.take(4)?.try_into().ok()?))),
            _ => return None,
        };
        Some(Field { number: tag >> 3, value })
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.rest = &[];
        }
        Some(field.ok_or(Malformed))
    }
}

/// A string field; None when it is not UTF-8.
pub fn text(bytes: &[u8]) -> Option<String> {
    String::from_utf8(bytes.to_vec()).ok()
}

/// A repeated string field.
pub fn texts(message: &[u8], number: u64) -> Result<Vec<String>, Malformed> {
    let mut found = Vec::new();
    for field in fields(message) {
        match field? {
            Field { number: n, value: Value::Bytes(bytes) } if n == number => {
                found.push(text(bytes).ok_or(Malformed)?)
            }
            _ => {}
        }
    }
    Ok(found)
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Adds a string, bytes, or message field, also an empty one.
pub fn put_bytes(out: &mut Vec<u8>, number: u64, bytes: &[u8]) {
    put_varint(out, number << 3 | 2);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Adds a string field; empty text is left out, as proto3 wants it.
pub fn add_text(out: &mut Vec<u8>, number: u64, text: &str) {
    if !text.is_empty() {
        put_bytes(out, number, text.as_bytes());
    }
}

/// Adds a number; 0 is left out.
pub fn add_number(out: &mut Vec<u8>, number: u64, value: u64) {
    if value != 0 {
        put_varint(out, number << 3);
        put_varint(out, value);
    }
}

/// A message of one string field.
pub fn put_text(number: u64, text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    add_text(&mut out, number, text);
    out
}

/// An entry of map<string, string>.
pub fn entry(bytes: &[u8]) -> Result<(String, String), Malformed> {
    let (mut key, mut value) = (String::new(), String::new());
    for field in fields(bytes) {
        match field? {
            Field { number: 1, value: Value::Bytes(bytes) } => key = text(bytes).ok_or(Malformed)?,
            Field { number: 2, value: Value::Bytes(bytes) } => value = text(bytes).ok_or(Malformed)?,
            _ => {}
        }
    }
    Ok((key, value))
}
