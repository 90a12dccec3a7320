//! The filters of list requests: `kind==active,labels."a.b"~=^x`. What is in one, separated by commas,
//! must all hold; of several, one must match, and without any all things do.
use crate::berth::{Code, Status};
use std::ffi::{c_char, c_int, c_void, CString};

enum How {
    Present,
    Equal(String),
    NotEqual(String),
    Matches(Pattern),
}

struct Term {
    field: String,
    rest: String,
    how: How,
}

pub struct Filters(Vec<Vec<Term>>);

impl Filters {
    pub fn parse(texts: &[String]) -> Result<Filters, Status> {
        let wrong = |text| Status::new(Code::InvalidArgument, format!("filter {:?} is malformed", text));
        let wanted = texts.iter().filter(|text| !text.is_empty());
        Ok(Filters(wanted.map(|text| terms(text).ok_or_else(|| wrong(text))).collect::<Result<_, _>>()?))
    }

    /// `lookup`: the value of a field of the thing; the second text is what stands after the first dot.
    pub fn matches(&self, lookup: impl Fn(&str, &str) -> Option<String>) -> bool {
        let holds = |term: &Term| {
            let value = lookup(&term.field, &term.rest);
            match &term.how {
                How::Present => value.is_some(),
                How::Equal(wanted) => value.as_ref() == Some(wanted),
                How::NotEqual(other) => value.as_ref() != Some(other),
                How::Matches(pattern) => value.map_or(false, |value| pattern.matches(&value)),
            }
        };
        self.0.is_empty() || self.0.iter().any(|filter| filter.iter().all(holds))
    }
}

fn terms(text: &str) -> Option<Vec<Term>> {
    let mut rest = text;
    let mut found = Vec::new();
    loop {
        found.push(term(&mut rest)?);
        if rest.is_empty() {
            return Some(found);
        }
        rest = rest.strip_prefix(',')?;
    }
}

fn term(rest: &mut &str) -> Option<Term> {
    let in_field = |c: char| c.is_alphanumeric() || "_-/".contains(c);
    let in_value = |c: char| c != ',' && c != '"';
    let field = word(rest, in_field)?;
    let mut parts = Vec::new();
    while let Some(after) = rest.strip_prefix('.') {
        *rest = after;
        parts.push(word(rest, in_field)?);
    }
    let size = rest.len() - rest.trim_start_matches(|c| "=!~".contains(c)).len();
    let (operator, after) = rest.split_at(size);
    *rest = after;
    let how = match operator {
        "" => How::Present,
        "==" => How::Equal(word(rest, in_value)?),
        "!=" => How::NotEqual(word(rest, in_value)?),
        "~=" => How::Matches(Pattern::new(&word(rest, in_value)?)?),
        _ => return None,
    };
    Some(Term { field, rest: parts.join("."), how })
}

/// A quoted text, or as many characters as fit.
fn word(rest: &mut &str, fits: impl Fn(char) -> bool) -> Option<String> {
    if let Some(quoted) = rest.strip_prefix('"') {
        let mut out = String::new();
        let mut chars = quoted.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    *rest = &quoted[at + 1..];
                    return Some(out);
                }
                '\\' => out.push(chars.next()?.1),
                c => out.push(c),
            }
        }
        return None;
    }
    let size = rest.find(|c| !fits(c)).unwrap_or(rest.len());
    let (taken, after) = rest.split_at(size);
    *rest = after;
    if taken.is_empty() {
        None
    } else {
        Some(taken.to_string())
    }
}

/// A regular expression of the C library; std has none.
struct Pattern(Box<Compiled>);

/// Larger than any regex_t.
#[repr(C, align(16))]
struct Compiled([u8; 256]);

extern "C" {
    fn regcomp(out: *mut Compiled, pattern: *const c_char, flags: c_int) -> c_int;
    fn regexec(of: *const Compiled, text: *const c_char, count: usize, out: *mut c_void, flags: c_int) -> c_int;
    fn regfree(of: *mut Compiled);
}

// regexec() is safe on any thread.
unsafe impl Send for Pattern {}
unsafe impl Sync for Pattern {}

impl Pattern {
    fn new(text: &str) -> Option<Pattern> {
        const EXTENDED_NOSUB: c_int = 1 | 8;
        let text = CString::new(text).ok()?;
        let mut pattern = Box::new(Compiled([0; 256]));
        if unsafe { regcomp(&mut *pattern, text.as_ptr(), EXTENDED_NOSUB) } != 0 {
            return None;
        }
        Some(Pattern(pattern))
    }

    fn matches(&self, text: &str) -> bool {
        let text = match CString::new(text) {
            Ok(text) => text,
            Err(_) => return false,
        };
        unsafe { regexec(&*self.0, text.as_ptr(), 0, std::ptr::null_mut(), 0) == 0 }
    }
}

impl Drop for Pattern {
    fn drop(&mut self) {
        unsafe { regfree(&mut *self.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_read_and_held_against_things() {
        let lookup = |field: &str, rest: &str| match (field, rest) {
            ("name", "") => Some("one".to_string()),
            ("labels", "a.b") => Some("value, quoted".to_string()),
            _ => None,
        };
        for text in ["name==one", "name", "name!=two", "name~=^o.e$", "labels.\"a.b\"==\"value, quoted\",name==one", "x!=y"] {
            assert!(Filters::parse(&[text.to_string()]).unwrap().matches(lookup), "{}", text);
        }
        for text in ["name==two", "other", "name==one,other", "name~=x"] {
            assert!(!Filters::parse(&[text.to_string()]).unwrap().matches(lookup), "{}", text);
        }
        for text in ["name=", "name=~x", "name==", "==x", "name==\"x", "name~=(", "name==a,", "."] {
            assert!(Filters::parse(&[text.to_string()]).is_err(), "{}", text);
        }
    }
}
